//! What the measures are computed from.

use engine::{Error, Result};

use super::Bin;

/// What calibration needs of each sample: the source of every metric here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    pub(super) samples: Vec<Score>,
    /// Probabilities [n, classes].
    probabilities: Vec<f64>,
    classes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    pub confidence: f64,
    pub correct: bool,
    label: usize,
    log_likelihood: f64,
    squared_error: f64,
}

impl Scores {
    /// Scores of logits `[n, k]` (row-major) for labels `[n]`.
    ///
    /// # Errors
    /// No samples, sizes that don't match, a label outside `0..k`, or a logit that isn't finite.
    pub fn from_logits(logits: &[f32], classes: usize, labels: &[i32]) -> Result<Self> {
        Self::collect(logits, classes, labels, |row, label, probabilities| {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let shifted = |logit: f32| f64::from(logit) - f64::from(largest);
            let sum: f64 = row.iter().map(|&logit| shifted(logit).exp()).sum();
            probabilities.extend(row.iter().map(|&logit| shifted(logit).exp() / sum));
            row.get(label).map(|&logit| shifted(logit) - sum.ln())
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
        Self::collect(probabilities, classes, labels, |row, label, probabilities| {
            probabilities.extend_from_slice(row);
            row.get(label).map(|p| p.ln())
        })
    }

    fn collect<T: Copy + Into<f64>>(
        values: &[T],
        classes: usize,
        labels: &[i32],
        // Adds the probabilities of a row, and gives the label's logarithm.
        mut add: impl FnMut(&[T], usize, &mut Vec<f64>) -> Option<f64>,
    ) -> Result<Self> {
        if labels.is_empty() || classes == 0 || labels.len().checked_mul(classes) != Some(values.len()) {
            return Err(Error::new("calibration", "needs one row of classes per label, and at least one")
                .with("values", values.len())
                .with("classes", classes)
                .with("labels", labels.len()));
        }
        let mut scores = Self {
            samples: Vec::with_capacity(labels.len()),
            probabilities: Vec::with_capacity(values.len()),
            classes,
        };
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
            let log_likelihood = add(row, label, &mut scores.probabilities).unwrap_or(f64::NAN);
            let probabilities = scores.probabilities.get(sample * classes..).unwrap_or_default();
            scores.samples.push(Score { log_likelihood, ..score(probabilities, label) });
        }
        Ok(scores)
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether nothing was scored, as in `Scores::default()`; every mean is then 0.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Samples whose most probable class is the label.
    pub fn correct(&self) -> usize {
        self.samples.iter().filter(|score| score.correct).count()
    }

    /// Fraction of correct samples.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.len())
    }

    /// Mean negative log-likelihood of the labels, nats.
    pub fn nll(&self) -> f64 {
        mean(&self.samples, |score| -score.log_likelihood)
    }

    /// Brier score, summed over classes.
    pub fn brier(&self) -> f64 {
        mean(&self.samples, |score| score.squared_error)
    }

    /// Mean entropy of the predicted distributions, nats.
    pub fn entropy(&self) -> f64 {
        let terms = self.probabilities.iter().map(|&p| if p > 0.0 { -p * p.ln() } else { 0.0 });
        over(terms.sum(), self.len())
    }

    /// Bins of equal width over (0, 1]: count, mean confidence, accuracy.
    pub fn reliability(&self, bins: usize) -> Vec<Bin> {
        equal_width(&self.outcomes(), bins)
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
        weighted_gap(&equal_mass(self.outcomes(), bins), self.len())
    }

    /// Classwise expected calibration error: the mean over classes of [`Scores::ece`] of that class's probability, in which every
    /// sample takes part (Kull et al., "Beyond temperature scaling", NeurIPS 2019).
    pub fn classwise_ece(&self, bins: usize) -> f64 {
        self.over_classes(|outcomes| weighted_gap(&equal_width(&outcomes, bins), self.len()))
    }

    /// Adaptive calibration error (Nixon et al., 1904.01685): the mean gap over classes and `bins` bins of equal mass, each
    /// counting alike. Equal probabilities are divided in the order of the samples. With fewer samples than bins, the mean is
    /// over those that hold one.
    pub fn ace(&self, bins: usize) -> f64 {
        let held = bins.min(self.len());
        self.over_classes(|outcomes| over(equal_mass(outcomes, bins).iter().map(Bin::gap).sum(), held))
    }

    /// The mean of `measure` over classes, given (probability of the class, whether it is the label) of every sample.
    fn over_classes(&self, measure: impl Fn(Vec<Outcome>) -> f64) -> f64 {
        let of_class = |class: usize| {
            let column = self.probabilities.iter().skip(class).step_by(self.classes.max(1));
            measure(column.zip(&self.samples).map(|(&p, score)| (p, score.label == class)).collect())
        };
        over((0..self.classes).map(of_class).sum(), self.classes)
    }

    /// (confidence, whether it is right) of every sample.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        self.samples.iter().map(|score| (score.confidence, score.correct)).collect()
    }
}

/// A probability, and whether what it was given to is so.
pub(super) type Outcome = (f64, bool);

fn equal_width(outcomes: &[Outcome], bins: usize) -> Vec<Bin> {
    let mut sums = vec![Sum::default(); bins];
    for &outcome in outcomes {
        // Compared with the edges themselves: rounding of probability * bins would move values that lie on one.
        let bin = (1..bins).take_while(|&edge| outcome.0 > ratio(edge, bins)).count();
        if let Some(sum) = sums.get_mut(bin) {
            sum.add(outcome);
        }
    }
    sums.iter().map(Sum::bin).collect()
}

fn equal_mass(mut outcomes: Vec<Outcome>, bins: usize) -> Vec<Bin> {
    outcomes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut rest = outcomes.as_slice();
    let mut parts = Vec::with_capacity(bins);
    for left in (1..=bins).rev() {
        let (part, after) = rest.split_at(rest.len().div_ceil(left));
        let mut sum = Sum::default();
        part.iter().for_each(|&outcome| sum.add(outcome));
        parts.push(sum.bin());
        rest = after;
    }
    parts
}

#[derive(Clone, Default)]
struct Sum {
    count: usize,
    confidence: f64,
    right: usize,
}

impl Sum {
    fn add(&mut self, (confidence, right): Outcome) {
        self.count += 1;
        self.confidence += confidence;
        self.right += usize::from(right);
    }

    fn bin(&self) -> Bin {
        let Self { count, confidence, right } = *self;
        Bin { count, confidence: over(confidence, count), accuracy: ratio(right, count) }
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
    Score { confidence: best.1, correct: best.0 == label, label, squared_error, log_likelihood: f64::NAN }
}

fn weighted_gap(bins: &[Bin], total: usize) -> f64 {
    bins.iter().map(|bin| ratio(bin.count, total) * bin.gap()).sum()
}

pub(super) fn mean(scores: &[Score], value: impl Fn(&Score) -> f64) -> f64 {
    over(scores.iter().map(value).sum(), scores.len())
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    over(part as f64, whole)
}

/// `sum / count`, 0 for a count of 0.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub(super) fn over(sum: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}
