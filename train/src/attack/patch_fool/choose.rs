//! Which patches and pixels are changed: scores to masks, on the host.

use engine::rng::Philox;
use engine::{Result, Tensor};
use models::VitConfig;

/// Mean and deviation of a channel.
#[derive(Clone, Copy)]
pub(super) struct Units {
    mean: f64,
    std: f64,
}

impl Units {
    pub(super) fn of(model: &VitConfig, channel: usize) -> Self {
        let at = |list: &[f32], other: f32| f64::from(list.get(channel).copied().unwrap_or(other));
        Self { mean: at(&model.normalisation.mean, 0.0), std: at(&model.normalisation.std, 1.0) }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a pixel, rounded to f32")]
    pub(super) fn normalised(self, pixel: f64) -> f32 {
        ((pixel - self.mean) / self.std) as f32
    }
}

/// The places of the largest scores, best first; of equals the first.
pub(super) fn largest(scores: &[f64], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |at: usize| scores.get(at).copied().unwrap_or(f64::NEG_INFINITY);
    order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
    order.truncate(most);
    order
}

/// 1 in the pixels of the patches [c, h, w]; with `sparse` (count, draws, sample id) only in so many of them.
pub(super) fn mask_of(model: &VitConfig, chosen: &[usize], sparse: Option<(u32, Philox, u32)>) -> Vec<f32> {
    let [height, width] = model.image;
    let per_row = width / model.patch.max(1);
    let inside = |at: usize| chosen.contains(&(at / width / model.patch * per_row + at % width / model.patch));
    let mut pixels: Vec<usize> = (0..height * width).filter(|&at| inside(at)).collect();
    if let Some((count, philox, id)) = sparse {
        pixels.sort_by_key(|&at| (philox.bits(id, at), at));
        pixels.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    }
    let mut plane = vec![0.0; height * width];
    for at in pixels {
        if let Some(pixel) = plane.get_mut(at) {
            *pixel = 1.0;
        }
    }
    plane.repeat(model.channels)
}

/// Attention that each patch receives, averaged over heads and queries up to a factor, from the gradient of the sum of
/// attention's outputs to qkv: to a key's value it is the sum over queries of the probabilities.
pub(super) fn attention_received(gradient: &Tensor, model: &VitConfig) -> Result<Vec<f64>> {
    let inner = model.heads * model.head_width;
    let tokens = model.tokens();
    let sums = gradient.values::<f32>()?.chunks(3 * inner).map(|token| {
        token.iter().skip(2 * inner).step_by(model.head_width.max(1)).map(|&sum| f64::from(sum)).sum::<f64>()
    });
    Ok(sums.enumerate().filter(|(at, _)| at % tokens >= model.prefix_tokens()).map(|(_, sum)| sum).collect())
}

/// Sum over each patch of the absolute gradients to normalised pixels.
pub(super) fn saliency(gradient: &Tensor, model: &VitConfig) -> Result<Vec<f64>> {
    let [height, width] = model.image;
    let per_row = width / model.patch.max(1);
    let count = model.patches();
    let mut scores = Vec::new();
    for image in gradient.values::<f32>()?.chunks(model.channels * height * width) {
        let mut patches = vec![0.0; count];
        for (at, &slope) in image.iter().enumerate() {
            let (channel, pixel) = (at / (height * width), at % (height * width));
            let patch = pixel / width / model.patch * per_row + pixel % width / model.patch;
            if let Some(score) = patches.get_mut(patch) {
                *score += f64::from(slope.abs()) * Units::of(model, channel).std;
            }
        }
        scores.extend(patches);
    }
    Ok(scores)
}
