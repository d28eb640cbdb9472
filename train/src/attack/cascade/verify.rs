//! Looks once more at what attacks found: as images, and as images of 8 bits.

use std::sync::Arc;

use engine::Result;
use serde::Serialize;

use super::campaign::Robust;
use crate::data::Dataset;
use crate::eval::accuracy::Evaluator;

/// Steps of an 8-bit channel.
const LEVELS: f32 = 255.0;

/// What is left of an attack's successes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Verified {
    /// Perturbations that were said to fool.
    pub found: usize,
    /// Those that do as images x + delta.
    pub confirmed: usize,
    /// Those that do once each pixel is rounded to 8 bits, as a PNG file is.
    pub after_rounding: usize,
}

/// Classifies the attacked images anew. Of a stochastic model, by one draw of the evaluator.
///
/// # Errors
/// The data can't be read, or the device failed.
pub fn verify(evaluator: &mut Evaluator, data: &Arc<Dataset>, samples: &[Robust]) -> Result<Verified> {
    let fooled: Vec<(usize, &[f32])> =
        samples.iter().enumerate().filter_map(|(index, one)| Some((index, one.delta.as_deref()?))).collect();
    let mut result = Verified { found: fooled.len(), ..Verified::default() };
    for part in fooled.chunks(evaluator.batch()) {
        let mut images = vec![0.0; evaluator.batch() * data.volume()];
        let (mut ids, mut labels) = (vec![0; evaluator.batch()], Vec::new());
        for (((index, delta), image), id) in part.iter().zip(images.chunks_exact_mut(data.volume())).zip(&mut ids) {
            data.image_f32(*index, image)?;
            image.iter_mut().zip(*delta).for_each(|(pixel, delta)| *pixel += delta);
            *id = data.id(*index)?;
            labels.push(data.label(*index)?);
        }
        result.confirmed += wrong(evaluator, &images, &ids, &labels)?;
        images.iter_mut().for_each(|pixel| *pixel = (*pixel * LEVELS).round().clamp(0.0, LEVELS) / LEVELS);
        result.after_rounding += wrong(evaluator, &images, &ids, &labels)?;
    }
    Ok(result)
}

fn wrong(evaluator: &mut Evaluator, images: &[f32], ids: &[u32], labels: &[i32]) -> Result<usize> {
    let (logits, _) = evaluator.predict(images, ids)?;
    let classes = logits.spec().shape.last();
    let rows = logits.values::<f32>()?.chunks_exact(classes).zip(labels);
    Ok(rows
        .filter(|(row, label)| {
            let right = usize::try_from(**label).ok().and_then(|label| row.get(label)).copied().unwrap_or(f32::NAN);
            row.iter().enumerate().any(|(class, &z)| i32::try_from(class) != Ok(**label) && z > right)
        })
        .count())
}
