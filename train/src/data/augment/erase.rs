//! Random erasing (Zhong et al., arXiv 1708.04896) with noise of each pixel, by timm's conventions.

use engine::rng;
use models::Normalisation;

use super::Draws;
use super::crop::Crop;
use super::levels::real;

/// Least and largest erased area, fractions of the image's.
const AREA: (f64, f64) = (0.02, 1.0 / 3.0);
const LOG_RATIO: f64 = 1.203_972_804_325_936; // -ln(0.3): heights of 0.3 to 1/0.3 times the width
const TRIES: usize = 10;

/// What is erased of a sample, if anything: the first of ten tries that is smaller than the image both ways.
pub(super) fn region(probability: f32, draws: Draws, [height, width]: [usize; 2]) -> Option<Crop> {
    if draws.uniform(0) >= f64::from(probability) {
        return None;
    }
    let between = |element, low: f64, high: f64| low + (high - low) * draws.uniform(element);
    let position = |element, room: usize| draws.below(element, u32::try_from(room + 1).unwrap_or(u32::MAX)) as usize;
    (1..=TRIES).find_map(|attempt| {
        let element = 4 * attempt;
        let area = real(height * width) * between(element, AREA.0, AREA.1);
        let ratio = libm::exp(between(element + 1, -LOG_RATIO, LOG_RATIO));
        let (tall, wide) = (side((area * ratio).sqrt()), side((area / ratio).sqrt()));
        (tall < height && wide < width).then(|| Crop {
            top: position(element + 2, height - tall),
            left: position(element + 3, width - wide),
            height: tall,
            width: wide,
        })
    })
}

/// A half goes to the even side, as Python rounds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive side in pixels")]
fn side(length: f64) -> usize {
    length.round_ties_even() as usize
}

/// Fills `region` with standard normal noise in the model's normalised units, clipped to [0, 1].
pub(super) fn fill(region: Crop, image: &mut [f32], dims: [usize; 3], normalisation: &Normalisation, noise: Draws) {
    let [_, height, width] = dims;
    let table = rng::normal_table();
    let channels = image.chunks_exact_mut(height * width).zip(normalisation.mean.iter().zip(&normalisation.std));
    for (channel, (plane, (mean, std))) in channels.enumerate() {
        for (line, row) in plane.chunks_exact_mut(width).skip(region.top).take(region.height).enumerate() {
            let first = (channel * region.height + line) * region.width;
            for (column, value) in row.iter_mut().skip(region.left).take(region.width).enumerate() {
                *value = (mean + std * rng::normal_from(table, noise.bits(first + column))).clamp(0.0, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Key;
    use super::*;

    #[test]
    fn the_region_gets_the_models_noise_and_the_rest_stays() {
        let dims = [3, 40, 30];
        let normalisation = Normalisation { mean: vec![0.5, 0.4, 0.6], std: vec![0.05, 0.1, 0.02] };
        let region = Crop { top: 3, left: 7, height: 33, width: 20 };
        let mut image = vec![2.0; 3600];
        fill(region, &mut image, dims, &normalisation, Key { seed: 5, epoch: 1, id: 9 }.draws("test"));
        for (channel, plane) in image.chunks_exact(1200).enumerate() {
            let inside = |at: &usize| (3..36).contains(&(at / 30)) && (7..27).contains(&(at % 30));
            assert!((0..1200).all(|at| (plane[at] == 2.0) != inside(&at)));
            let noise: Vec<f32> = (0..1200).filter(inside).map(|at| plane[at]).collect();
            let (mean, std) = (normalisation.mean[channel], normalisation.std[channel]);
            let units: Vec<f32> = noise.iter().map(|value| (value - mean) / std).collect();
            let average = units.iter().sum::<f32>() / 660.0;
            let square = units.iter().map(|unit| unit * unit).sum::<f32>() / 660.0;
            // Five standard errors of a mean and of a variance of 660 values.
            assert!(average.abs() < 5.0 / 660.0_f32.sqrt() && (square - 1.0).abs() < 5.0 * (2.0 / 660.0_f32).sqrt());
            assert!(noise.iter().enumerate().all(|(at, value)| at == 0 || noise[at - 1] != *value));
        }
        let [first, second] = [0, 1].map(|channel: usize| {
            (image[channel * 1200 + 97] - normalisation.mean[channel]) / normalisation.std[channel]
        });
        assert!((first - second).abs() > 1e-3, "each channel has its own noise");
        let wide = Normalisation { mean: vec![0.5; 3], std: vec![1.0; 3] };
        fill(region, &mut image, dims, &wide, Key { seed: 5, epoch: 1, id: 9 }.draws("test"));
        let clipped = |bound: f32| image.iter().filter(|&&value| value == bound).count();
        // 31 % of 1980 values on each side.
        assert!(clipped(0.0).abs_diff(611) < 105 && clipped(1.0).abs_diff(611) < 105);
    }
}
