//! Temperature scaling (Guo et al., "On calibration of modern neural networks", ICML 2017): one divisor of all logits, fitted on
//! images that are not evaluated. It changes no prediction.
//!
//! The fit is one-dimensional and exact, where the public implementations stop an optimizer after some steps: NLL is convex in
//! 1 / T, so its sign of slope brackets the minimum; golden sections narrow ln T, and Newton's method, kept inside the bracket,
//! finishes. All in f64, and rows are added in blocks of fixed size, so that threads change no bit.
//!
//! Of a stochastic model the draws' softmax outputs are averaged first, and the logarithm of the mean is scaled: pool, then
//! calibrate (Rahaman and Thiery, 2007.08792).

use engine::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::scores::over;

/// Temperatures that are searched.
const RANGE: (f64, f64) = (1e-2, 1e2);

/// Rows whose terms are added one by one.
const BLOCK: usize = 256;

/// Width of ln T at which golden sections give way to Newton's method.
const COARSE: f64 = 0.1;

/// Most steps of Newton's method, or of the bisection that stands in for it: 2^-60 of the bracket is below f64's resolution.
const STEPS: u32 = 60;

/// A fitted temperature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// The divisor of the logits.
    pub value: f64,
    /// Whether it is the end of the searched range, 0.01 to 100, with the minimum beyond: so where all samples are right.
    pub at_bound: bool,
    /// NLL of the fitted samples at temperature 1, nats.
    pub nll_before: f64,
    /// At this temperature.
    pub nll_after: f64,
}

/// Probabilities `[n, k]` of logits `[n, k]` divided by `temperature`.
pub fn scaled(logits: &[f64], classes: usize, temperature: f64) -> Vec<f64> {
    let mut out = Vec::with_capacity(logits.len());
    for row in logits.chunks(classes.max(1)) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight = |logit: f64| ((logit - largest) / temperature).exp();
        let sum: f64 = row.iter().map(|&logit| weight(logit)).sum();
        out.extend(row.iter().map(|&logit| weight(logit) / sum));
    }
    out
}

impl Temperature {
    /// The temperature of least NLL on logits `[n, k]` (or logarithms of probabilities) with labels `[n]`. A logit may be
    /// negative infinity, a probability of 0, where it is not the label's. Rows of equal logits say nothing about T; where all
    /// are such, it is 1.
    ///
    /// # Errors
    /// No samples, sizes that don't match, a label outside `0..k`, a logit that is NaN or positive infinity, or a label of
    /// probability 0.
    pub fn fit(logits: &[f64], classes: usize, labels: &[i32]) -> Result<Self> {
        let rows = Rows::new(logits, classes, labels)?;
        let at = |t: f64| rows.sums(t.ln());
        let before = at(1.0).nll;
        let (low, high) = (at(RANGE.0), at(RANGE.1));
        let done = |value: f64, nll: f64, at_bound| Self { value, at_bound, nll_before: before, nll_after: nll };
        if rows.all_flat() {
            return Ok(done(1.0, before, false));
        }
        if low.slope >= 0.0 {
            return Ok(done(RANGE.0, low.nll, true));
        }
        if high.slope <= 0.0 {
            return Ok(done(RANGE.1, high.nll, true));
        }
        let bracket = golden(|u| rows.sums(u).nll, (RANGE.0.ln(), RANGE.1.ln()));
        let u = newton(|u| rows.sums(u), bracket);
        Ok(done(u.exp(), rows.sums(u).nll, false))
    }
}

/// Narrows a bracket of the only minimum of `f` to [`COARSE`] (Kiefer 1953).
fn golden(f: impl Fn(f64) -> f64, (mut low, mut high): (f64, f64)) -> (f64, f64) {
    let share = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut left, mut right) = (high - share * (high - low), low + share * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    while high - low > COARSE {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - share * (high - low);
            at_left = f(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + share * (high - low);
            at_right = f(right);
        }
    }
    // Where NLL is flat to the last bit, the comparison may have been wrong by a section.
    (low - COARSE, high + COARSE)
}

/// The zero of the slope inside the bracket.
fn newton(sums: impl Fn(f64) -> Sums, (mut low, mut high): (f64, f64)) -> f64 {
    let mut u = 0.5 * (low + high);
    for _ in 0..STEPS {
        let Sums { slope, curvature, .. } = sums(u);
        if slope > 0.0 {
            high = u;
        } else {
            low = u;
        }
        let step = u - slope / curvature;
        // Ends included: a step of no length stays where it is, at an end.
        let next = if curvature > 0.0 && (low..=high).contains(&step) { step } else { 0.5 * (low + high) };
        let moved = (next - u).abs();
        u = next;
        if moved <= f64::EPSILON * u.abs().max(1.0) {
            break;
        }
    }
    u
}

/// Mean NLL, and its first two derivatives to ln T.
#[derive(Clone, Copy, Default)]
struct Sums {
    nll: f64,
    slope: f64,
    curvature: f64,
}

/// Rows of logits below their largest, and the label's.
struct Rows<'a> {
    logits: &'a [f64],
    classes: usize,
    labels: Vec<usize>,
}

impl<'a> Rows<'a> {
    fn new(logits: &'a [f64], classes: usize, labels: &[i32]) -> Result<Self> {
        let place = "temperature";
        if labels.is_empty() || classes == 0 || labels.len().checked_mul(classes) != Some(logits.len()) {
            return Err(Error::new(place, "needs one row of classes per label, and at least one")
                .with("values", logits.len())
                .with("classes", classes)
                .with("labels", labels.len()));
        }
        let mut indices = Vec::with_capacity(labels.len());
        for (sample, (row, &label)) in logits.chunks_exact(classes).zip(labels).enumerate() {
            let error = |problem: &str| Error::new(place, problem).with("sample", sample).with("label", label);
            let index = usize::try_from(label).ok().filter(|&index| index < classes);
            let index = index.ok_or_else(|| error("a label is no class of the model").with("classes", classes))?;
            if row.iter().any(|logit| logit.is_nan() || *logit == f64::INFINITY) {
                return Err(error("a logit is NaN or infinite"));
            }
            if row.get(index) == Some(&f64::NEG_INFINITY) {
                return Err(error("the label has probability 0: no temperature makes its NLL finite"));
            }
            indices.push(index);
        }
        Ok(Self { logits, classes, labels: indices })
    }

    fn all_flat(&self) -> bool {
        self.logits.chunks_exact(self.classes).all(|row| row.windows(2).all(|pair| pair[0] == pair[1]))
    }

    /// At ln T = `u`.
    fn sums(&self, u: f64) -> Sums {
        let beta = (-u).exp();
        let blocks: Vec<Sums> = self
            .logits
            .par_chunks(self.classes * BLOCK)
            .zip(self.labels.par_chunks(BLOCK))
            .map(|(rows, labels)| block(rows, self.classes, labels, beta))
            .collect();
        let mut sums = Sums::default();
        for block in blocks {
            sums.nll += block.nll;
            sums.slope += block.slope;
            sums.curvature += block.curvature;
        }
        let mean = |sum: f64| over(sum, self.labels.len());
        // From derivatives to beta = 1 / T to those to ln T.
        let (slope, curvature) = (mean(sums.slope), mean(sums.curvature));
        Sums { nll: mean(sums.nll), slope: -beta * slope, curvature: beta * (beta * curvature + slope) }
    }
}

/// Sums of NLL and of its derivatives to `beta`, E[z] - z_label and Var[z] under the softmax of beta z.
fn block(rows: &[f64], classes: usize, labels: &[usize], beta: f64) -> Sums {
    let mut sums = Sums::default();
    for (row, &label) in rows.chunks_exact(classes).zip(labels) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let own = row.get(label).copied().unwrap_or(f64::NAN) - largest;
        let (mut weights, mut first, mut second) = (0.0, 0.0, 0.0);
        for &logit in row {
            let z = logit - largest;
            let weight = (beta * z).exp();
            // 0 times infinity is not a number.
            if weight > 0.0 {
                weights += weight;
                first += weight * z;
                second += weight * z * z;
            }
        }
        let mean = first / weights;
        sums.nll += weights.ln() - beta * own;
        sums.slope += mean - own;
        sums.curvature += second / weights - mean * mean;
    }
    sums
}
