//! Calibration: does a confidence of 0.8 mean right four times in five?
//!
//! Everything is computed in f64 from logits or probabilities. Bins are equal in width and half open, `(lo, hi]`, so that
//! a confidence of 1 lies in the last bin and none lies outside (Guo et al., "On calibration of modern neural
//! networks", ICML 2017). The number of bins changes the result, so every name carries it.

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// Bins of the standard expected calibration error, and of the reliability diagram.
pub const BINS: usize = 15;

/// Calibration of a classifier on a labelled set. Fractions lie in [0, 1]; `nll` is in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Samples whose most probable class is the label; the lowest index wins a tie.
    pub correct: usize,
    /// Samples.
    pub total: usize,
    /// `correct / total`.
    pub accuracy: f64,
    /// Mean of `-ln p_label`. Infinite where a label's probability is 0, which only probabilities can be; JSON has no
    /// infinity and writes `null`.
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
            bins: scores.reliability(BINS),
        }
    }
}

/// What calibration needs of each sample: the source of every metric here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores(Vec<Score>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Score {
    confidence: f64,
    correct: bool,
    log_likelihood: f64,
    squared_error: f64,
}

impl Scores {
    /// Scores of logits `[n, k]` (row-major) for labels `[n]`.
    ///
    /// # Errors
    /// No samples, sizes that don't match, a label outside `0..k`, or a logit that isn't finite.
    pub fn from_logits(logits: &[f32], classes: usize, labels: &[i32]) -> Result<Self> {
        let mut probabilities = vec![0.0; classes];
        Self::collect(logits, classes, labels, |row, label| {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let shifted = |logit: f32| f64::from(logit) - f64::from(largest);
            let sum: f64 = row.iter().map(|&logit| shifted(logit).exp()).sum();
            for (probability, &logit) in probabilities.iter_mut().zip(row) {
                *probability = shifted(logit).exp() / sum;
            }
            let log_likelihood = row.get(label).map_or(f64::NAN, |&logit| shifted(logit) - sum.ln());
            Score { log_likelihood, ..score(&probabilities, label) }
        })
    }

    /// Scores of probabilities `[n, k]` (row-major) for labels `[n]`: for randomised models, whose softmax outputs are averaged
    /// over draws before anything is measured.
    ///
    /// # Errors
    /// As [`Scores::from_logits`], or a row that isn't a distribution: an entry outside
    /// [0, 1] (but for 1e-6 of rounding), a sum off 1 by more than 1e-3.
    pub fn from_probabilities(probabilities: &[f64], classes: usize, labels: &[i32]) -> Result<Self> {
        for (sample, row) in probabilities.chunks(classes.max(1)).enumerate() {
            let sum: f64 = row.iter().sum();
            if row.iter().any(|p| !(-1e-6..=1.0 + 1e-6).contains(p)) || (sum - 1.0).abs() > 1e-3 {
                return Err(Error::new("calibration", "a row of probabilities isn't a distribution")
                    .with("sample", sample)
                    .with("sum", sum)
                    .help("pass logits to `from_logits`"));
            }
        }
        Self::collect(probabilities, classes, labels, score)
    }

    fn collect<T: Copy + Into<f64>>(
        values: &[T],
        classes: usize,
        labels: &[i32],
        mut score: impl FnMut(&[T], usize) -> Score,
    ) -> Result<Self> {
        if labels.is_empty() || classes == 0 || labels.len().checked_mul(classes) != Some(values.len()) {
            return Err(Error::new("calibration", "needs one row of classes per label, and at least one")
                .with("values", values.len())
                .with("classes", classes)
                .with("labels", labels.len()));
        }
        let mut scores = Vec::with_capacity(labels.len());
        for (sample, (row, &label)) in values.chunks_exact(classes).zip(labels).enumerate() {
            let Some(label) = usize::try_from(label).ok().filter(|&label| label < classes) else {
                return Err(Error::new("calibration", "a label is no class of the model")
                    .with("sample", sample)
                    .with("label", label)
                    .with("classes", classes));
            };
            if let Some(class) = row.iter().position(|&value| !value.into().is_finite()) {
                return Err(Error::new("calibration", "an output isn't finite")
                    .with("sample", sample)
                    .with("class", class));
            }
            scores.push(score(row, label));
        }
        Ok(Self(scores))
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was scored, as in `Scores::default()`; every mean is then 0.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Samples whose most probable class is the label.
    pub fn correct(&self) -> usize {
        self.0.iter().filter(|score| score.correct).count()
    }

    /// Fraction of correct samples.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.len())
    }

    /// Mean negative log-likelihood of the labels, nats.
    pub fn nll(&self) -> f64 {
        mean(&self.0, |score| -score.log_likelihood)
    }

    /// Brier score, summed over classes.
    pub fn brier(&self) -> f64 {
        mean(&self.0, |score| score.squared_error)
    }

    /// Bins of equal width over (0, 1]: count, mean confidence, accuracy.
    pub fn reliability(&self, bins: usize) -> Vec<Bin> {
        let mut members = vec![Vec::new(); bins];
        for &score in &self.0 {
            // Compared with the edges themselves: rounding of confidence * bins would move values that lie on one.
            let bin = (1..bins).take_while(|&edge| score.confidence > ratio(edge, bins)).count();
            if let Some(members) = members.get_mut(bin) {
                members.push(score);
            }
        }
        members.iter().map(|members| summary(members)).collect()
    }

    /// Expected calibration error over `bins` bins of equal width: the mean gap, weighted by count.
    pub fn ece(&self, bins: usize) -> f64 {
        weighted_gap(&self.reliability(bins), self.len())
    }

    /// Maximum calibration error: the largest gap of the bins that hold a sample.
    pub fn mce(&self, bins: usize) -> f64 {
        self.reliability(bins).iter().map(Bin::gap).fold(0.0, f64::max)
    }

    /// Expected calibration error over `bins` bins of equal mass. Samples are sorted by confidence; where their number isn't
    /// a multiple of `bins`, the first bins hold one more (numpy's `array_split`).
    pub fn adaptive_ece(&self, bins: usize) -> f64 {
        let mut rest = self.0.clone();
        rest.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
        let mut rest = rest.as_slice();
        let mut parts = Vec::with_capacity(bins);
        for left in (1..=bins).rev() {
            let (part, after) = rest.split_at(rest.len().div_ceil(left));
            parts.push(summary(part));
            rest = after;
        }
        weighted_gap(&parts, self.len())
    }
}

fn score(probabilities: &[f64], label: usize) -> Score {
    let mut best = (0, f64::NEG_INFINITY);
    let mut squared_error = 0.0;
    for (class, &p) in probabilities.iter().enumerate() {
        if p > best.1 {
            best = (class, p);
        }
        squared_error += if class == label { (p - 1.0).powi(2) } else { p * p };
    }
    let log_likelihood = probabilities.get(label).map_or(f64::NAN, |p| p.ln());
    Score { confidence: best.1, correct: best.0 == label, log_likelihood, squared_error }
}

fn summary(scores: &[Score]) -> Bin {
    let correct = scores.iter().filter(|score| score.correct).count();
    Bin {
        count: scores.len(),
        confidence: mean(scores, |score| score.confidence),
        accuracy: ratio(correct, scores.len()),
    }
}

fn weighted_gap(bins: &[Bin], total: usize) -> f64 {
    bins.iter().map(|bin| ratio(bin.count, total) * bin.gap()).sum()
}

fn mean(scores: &[Score], value: impl Fn(&Score) -> f64) -> f64 {
    over(scores.iter().map(value).sum(), scores.len())
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn ratio(part: usize, whole: usize) -> f64 {
    over(part as f64, whole)
}

/// `sum / count`, 0 for a count of 0.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn over(sum: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;
    use vitrum_tests::real_data;

    use super::*;

    /// An .npy file of little-endian f32 in C order: its shape and values.
    fn npy(path: &std::path::Path) -> (Vec<usize>, Vec<f32>) {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\0", "not version 1.0 of .npy");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert!(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"), "{header}");
        let dims = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
        let dims = dims.split(',').filter_map(|part| part.trim().parse().ok()).collect();
        let values = bytes[10 + length..].chunks_exact(4);
        (dims, values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    #[test]
    fn equals_the_published_figures_of_a_real_model() {
        let (Some(logits), Some(labels)) =
            (real_data("vit-mnist/test_logits.npy"), real_data("mnist/t10k-labels-idx1-ubyte.gz"))
        else {
            return;
        };
        let (dims, logits) = npy(&logits);
        assert_eq!(dims, [10_000, 10]);
        let mut raw = Vec::new();
        flate2::read::GzDecoder::new(std::fs::File::open(labels).unwrap()).read_to_end(&mut raw).unwrap();
        assert_eq!(raw[..8], [0, 0, 8, 1, 0, 0, 0x27, 0x10], "an idx1 file of 10,000 bytes");
        let labels: Vec<i32> = raw[8..].iter().map(|&label| i32::from(label)).collect();

        let is = Calibration::from_logits(&logits, 10, &labels).unwrap();
        assert_eq!((is.correct, is.total), (9721, 10_000));
        let figures = [is.accuracy, is.nll, is.brier, is.ece15, is.ece10, is.mce15, is.adaptive_ece15];
        let known = ["0.9721000", "0.0871302", "0.0417853", "0.0069410", "0.0066903", "0.1504441", "0.0068915"];
        assert_eq!(figures.map(|figure| format!("{figure:.7}")), known);
        assert_eq!(is.bins.iter().map(|bin| bin.count).sum::<usize>(), 10_000);
    }

    #[test]
    fn bins_are_half_open_and_a_confidence_of_one_lies_in_the_last() {
        let rows = [0.5, 0.5, 1.0, 0.0, 0.6, 0.4, 0.4, 0.6];
        let bins = Scores::from_probabilities(&rows, 2, &[0, 0, 1, 1]).unwrap().reliability(10);
        let counts: Vec<usize> = bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [0, 0, 0, 0, 1, 2, 0, 0, 0, 1], "0.5 in (.4, .5], 0.6 in (.5, .6], 1 in (.9, 1]");
        assert_eq!((bins[5].confidence, bins[5].accuracy, bins[9].accuracy), (0.6, 0.5, 1.0));
    }

    #[test]
    fn hand_computed_example() {
        // Confidences .9 (right), .9 (wrong), .6 (right): two bins of ten with gaps .4 and .4.
        let rows = [0.9, 0.1, 0.9, 0.1, 0.6, 0.4];
        let scores = Scores::from_probabilities(&rows, 2, &[0, 1, 0]).unwrap();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(scores.ece(10), 0.4);
        close(scores.mce(10), 0.4);
        close(scores.brier(), (0.02 + 1.62 + 0.32) / 3.0);
        close(scores.nll(), -(0.9_f64.ln() + 0.1_f64.ln() + 0.6_f64.ln()) / 3.0);
        // Equal mass over two bins: {.6, .9} and {.9}, whichever .9 sorts first: the right one, as the sort is stable.
        close(scores.adaptive_ece(2), 2.0 / 3.0 * 0.25 + 1.0 / 3.0 * 0.9);
    }

    #[test]
    fn bad_input_is_refused_by_name() {
        let error = |logits: &[f32], classes, labels: &[i32]| {
            Scores::from_logits(logits, classes, labels).unwrap_err().problem().to_owned()
        };
        assert!(error(&[0.0; 4], 2, &[0]).contains("one row"));
        assert!(error(&[], 2, &[]).contains("at least one"));
        assert!(error(&[0.0; 2], 2, &[2]).contains("no class"));
        assert!(error(&[0.0; 2], 2, &[-1]).contains("no class"));
        assert!(error(&[f32::NAN, 0.0], 2, &[0]).contains("finite"));
        assert!(Scores::from_probabilities(&[0.7, 0.7], 2, &[0]).is_err());
    }

    /// Logits [n, 4] in tenths, with labels.
    fn samples() -> impl Strategy<Value = (Vec<f32>, Vec<i32>)> {
        (1..60_usize).prop_flat_map(|n| {
            (
                prop::collection::vec((-80..80_i16).prop_map(|v| f32::from(v) / 10.0), n * 4),
                prop::collection::vec(0..4, n),
            )
        })
    }

    proptest! {
        #[test]
        fn one_sign_of_gap_makes_every_binning_equal((logits, mut labels) in samples(), right in any::<bool>()) {
            // All right, or all wrong: every bin errs to the same side, so the gaps add up without cancelling.
            for (row, label) in logits.chunks_exact(4).zip(&mut labels) {
                let best = row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best });
                *label = i32::try_from(if right { best } else { (best + 1) % 4 }).unwrap();
            }
            let scores = Scores::from_logits(&logits, 4, &labels).unwrap();
            prop_assert_eq!(scores.accuracy(), if right { 1.0 } else { 0.0 });
            let gap = (scores.accuracy() - mean(&scores.0, |score| score.confidence)).abs();
            for is in [scores.ece(15), scores.ece(10), scores.adaptive_ece(15)] {
                prop_assert!((is - gap).abs() < 1e-12);
            }
        }

        #[test]
        fn shifting_logits_changes_nothing_and_bounds_hold((logits, labels) in samples()) {
            let is = Calibration::from_logits(&logits, 4, &labels).unwrap();
            // 64 is exact on tenths only up to rounding of f32, hence the tolerance.
            let shifted: Vec<f32> = logits.iter().map(|v| v + 64.0).collect();
            let moved = Scores::from_logits(&shifted, 4, &labels).unwrap();
            prop_assert!((moved.nll() - is.nll).abs() < 1e-4 && (moved.brier() - is.brier).abs() < 1e-4);
            prop_assert!(is.ece15 <= is.mce15 + 1e-12 && is.mce15 <= 1.0);
            prop_assert!((0.0..=2.0).contains(&is.brier) && is.nll >= 0.0);
            prop_assert_eq!(is.bins.iter().map(|bin| bin.count).sum::<usize>(), labels.len());
            let probabilities: Vec<f64> = logits.chunks_exact(4).flat_map(|row| {
                let sum: f64 = row.iter().map(|&v| f64::from(v).exp()).sum();
                row.iter().map(move |&v| f64::from(v).exp() / sum)
            }).collect();
            let again = Scores::from_probabilities(&probabilities, 4, &labels).unwrap();
            prop_assert!((again.nll() - is.nll).abs() < 1e-9 && (again.brier() - is.brier).abs() < 1e-12);
        }
    }
}
