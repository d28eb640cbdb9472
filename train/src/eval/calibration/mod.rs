//! Calibration: does a confidence of 0.8 mean right four times in five?
//!
//! Everything is computed in f64 from logits or probabilities. Bins are equal in width and half open, `(lo, hi]`, so that
//! a confidence of 1 lies in the last bin and none lies outside (Guo et al., "On calibration of modern neural
//! networks", ICML 2017); 0, which only a class's probability can be, lies in the first. The number of bins changes the
//! result, so every name carries it.
//!
//! # Names that mean different things elsewhere
//! | here | what | elsewhere |
//! |---|---|---|
//! | `ece15` | gaps of confidence, equal width, weighted by mass | the default of torchmetrics; with 10 bins that of netcal and torch-uncertainty |
//! | `adaptive_ece15` | gaps of confidence, equal mass, weighted by mass | torch-uncertainty's "aECE" |
//! | `classwise_ece15` | gaps of every class's probability, equal width, weighted by mass, mean over classes | "SCE" of Nixon et al. |
//! | `ace15` | gaps of every class's probability, equal mass, mean over classes and bins | "ACE" of Nixon et al. (1904.01685), without their threshold |
//!
//! netcal's "ACE" is a third thing, the unweighted mean gap over non-empty bins of equal width, and is not computed.

mod scores;
mod selective;
mod temperature;

use serde::{Deserialize, Serialize};

use engine::Result;

pub use scores::Scores;
pub use temperature::{Temperature, scaled};

/// Bins of the standard expected calibration error, and of the reliability diagram.
pub const BINS: usize = 15;

/// Calibration of a classifier on a labelled set. Fractions lie in [0, 1]; `nll` and `entropy` are in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Samples whose most probable class is the label; the lowest index wins a tie.
    pub correct: usize,
    /// Samples.
    pub total: usize,
    /// `correct / total`.
    pub accuracy: f64,
    /// Mean of `-ln p_label`. Infinite where a label's probability is 0, which only probabilities can be; JSON has no
    /// infinity and writes `null`, which is read as infinity.
    #[serde(deserialize_with = "null_is_infinite")]
    pub nll: f64,
    /// Brier score (Brier 1950), summed over classes: mean of `sum_k (p_k - [k = label])^2`, in [0, 2].
    pub brier: f64,
    /// Expected calibration error over 15 bins of equal width.
    pub ece15: f64,
    /// Expected calibration error over 10 bins of equal width.
    pub ece10: f64,
    /// Maximum calibration error: the largest gap of the 15 bins.
    pub mce15: f64,
    /// Expected calibration error over 15 bins of equal mass, weighted by mass.
    pub adaptive_ece15: f64,
    /// Classwise expected calibration error over 15 bins of equal width (Kull et al., NeurIPS 2019).
    pub classwise_ece15: f64,
    /// Adaptive calibration error of Nixon et al. (1904.01685): every class's probability in 15 bins of equal mass, unweighted.
    pub ace15: f64,
    /// Area under the risk-coverage curve (Geifman and El-Yaniv, ICML 2017; 1805.08206): see [`Scores::aurc`].
    pub aurc: f64,
    /// Area under the ROC curve of confidence as a test for correctness; `None` where all samples are right, or all wrong.
    pub auroc: Option<f64>,
    /// Mean entropy of the predicted distribution.
    pub entropy: f64,
    /// The 15 bins of equal width, for the reliability diagram.
    pub bins: Vec<Bin>,
}

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Samples in it.
    pub count: usize,
    /// Their mean confidence; 0 where the bin is empty.
    pub confidence: f64,
    /// Their accuracy; 0 where the bin is empty.
    pub accuracy: f64,
}

impl Bin {
    /// |accuracy - confidence|.
    pub fn gap(&self) -> f64 {
        (self.accuracy - self.confidence).abs()
    }
}

impl Calibration {
    /// Calibration of logits `[n, k]` (row-major) for labels `[n]`.
    ///
    /// # Errors
    /// See [`Scores::from_logits`].
    pub fn from_logits(logits: &[f32], classes: usize, labels: &[i32]) -> Result<Self> {
        Ok(Self::of(&Scores::from_logits(logits, classes, labels)?))
    }

    /// Calibration of what was scored.
    pub fn of(scores: &Scores) -> Self {
        Self {
            correct: scores.correct(),
            total: scores.len(),
            accuracy: scores.accuracy(),
            nll: scores.nll(),
            brier: scores.brier(),
            ece15: scores.ece(BINS),
            ece10: scores.ece(10),
            mce15: scores.mce(BINS),
            adaptive_ece15: scores.adaptive_ece(BINS),
            classwise_ece15: scores.classwise_ece(BINS),
            ace15: scores.ace(BINS),
            aurc: scores.aurc(),
            auroc: scores.auroc(),
            entropy: scores.entropy(),
            bins: scores.reliability(BINS),
        }
    }

    /// The single figures with their standard names, in the order of the fields.
    pub fn measures(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("accuracy", self.accuracy),
            ("nll", self.nll),
            ("brier", self.brier),
            ("ece15", self.ece15),
            ("ece10", self.ece10),
            ("mce15", self.mce15),
            ("adaptive_ece15", self.adaptive_ece15),
            ("classwise_ece15", self.classwise_ece15),
            ("ace15", self.ace15),
            ("aurc", self.aurc),
            ("auroc", self.auroc.unwrap_or(f64::NAN)),
            ("entropy", self.entropy),
        ]
    }
}

fn null_is_infinite<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

#[cfg(test)]
mod tests;
