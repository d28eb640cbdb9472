//! What noise does to a model's outputs, as the authors of 2403.10476 measure it.

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// Outputs on noisy images against those on clean ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Influence {
    /// Largest absolute change of a logit.
    pub max: f64,
    /// Mean absolute change of a logit.
    pub mean: f64,
    /// Images whose most probable class changes.
    pub flipped: usize,
    /// Share of images whose most probable class stays (EQ).
    pub agreement: f64,
    /// Mean over images of the squared distance of logits (MSE_logits).
    pub mse_logits: f64,
    /// Mean over images of the squared distance of softmax probabilities (MSE_probs).
    pub mse_probs: f64,
}

impl Influence {
    /// Compares logits [n, classes], row by row.
    ///
    /// # Errors
    /// Lengths that differ, or that aren't whole rows.
    pub fn of(clean: &[f64], noisy: &[f64], classes: usize) -> Result<Self> {
        if clean.len() != noisy.len() || classes == 0 || clean.is_empty() || !clean.len().is_multiple_of(classes) {
            return Err(Error::new("influence", "logits must be whole rows, as many for both")
                .with("clean", clean.len())
                .with("noisy", noisy.len())
                .with("classes", classes));
        }
        let count = (clean.len() / classes) as f64;
        let rows = || clean.chunks(classes).zip(noisy.chunks(classes));
        let change = || clean.iter().zip(noisy).map(|(a, b)| (a - b).abs());
        let flipped = rows().filter(|(a, b)| best(a) != best(b)).count();
        let squares = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        Ok(Self {
            max: change().fold(0.0, f64::max),
            mean: change().sum::<f64>() / clean.len() as f64,
            flipped,
            agreement: 1.0 - flipped as f64 / count,
            mse_logits: rows().map(|(a, b)| squares(a, b)).sum::<f64>() / count,
            mse_probs: rows().map(|(a, b)| squares(&softmax(a), &softmax(b))).sum::<f64>() / count,
        })
    }
}

fn best(row: &[f64]) -> usize {
    crate::eval::accuracy::argmax(row)
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let most = row.iter().fold(f64::NEG_INFINITY, |most, &z| most.max(z));
    let total: f64 = row.iter().map(|z| (z - most).exp()).sum();
    row.iter().map(|z| (z - most).exp() / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_measured_per_image() {
        let found = Influence::of(&[1.0, 0.0, 0.0, 1.0], &[1.0, 0.5, 2.0, 1.0], 2).unwrap();
        assert_eq!((found.max, found.mean, found.flipped), (2.0, 0.625, 1));
        assert_eq!((found.agreement, found.mse_logits), (0.5, 0.5 * (0.25 + 4.0)));
        // Of two classes, both probabilities change by the same.
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let change = |a: f64, b: f64| 2.0 * (sigmoid(a) - sigmoid(b)).powi(2);
        assert!((found.mse_probs - 0.5 * (change(1.0, 0.5) + change(1.0, -1.0))).abs() < 1e-12);
        let thirds = Influence::of(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], &[1.0, 0.0, 0.0, 1.0, 2.0, 0.0], 2).unwrap();
        assert!((thirds.agreement - 2.0 / 3.0).abs() < 1e-12);
        assert!(Influence::of(&[1.0; 3], &[1.0; 3], 2).is_err() && Influence::of(&[], &[], 2).is_err());
    }
}
