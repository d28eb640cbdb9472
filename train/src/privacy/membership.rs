//! Membership inference: was a sample trained on?
//!
//! Scores are higher for members. [`Curve`] measures them: area under the ROC curve, and the true positive rate at a false
//! positive rate so low that an answer is evidence (Carlini et al., "Membership Inference Attacks From First Principles",
//! 2112.03570, whose likelihood ratio attack is [`likelihood_ratio`]).

use engine::{Error, Result};
use serde::Serialize;

/// What a score is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Minus the cross-entropy of the label.
    Loss,
    /// Minus the entropy of the prediction; needs no label.
    Entropy,
    /// The largest probability; needs no label.
    Confidence,
}

/// Scores of logits [n, classes]; higher means rather a member.
///
/// # Errors
/// Sizes that don't match, a label outside the classes, or a logit that isn't finite.
pub fn scores(logits: &[f64], classes: usize, labels: &[i32], signal: Signal) -> Result<Vec<f64>> {
    rows(logits, classes, labels, |log, label| match signal {
        Signal::Loss => log[label],
        Signal::Entropy => log.iter().map(|l| if l.exp() > 0.0 { l.exp() * l } else { 0.0 }).sum(),
        Signal::Confidence => log.iter().fold(f64::NEG_INFINITY, |most, l| most.max(*l)).exp(),
    })
}

/// `ln(p / (1 - p))` of the label's probability p: nearly normal over models, where the loss is not (2112.03570, eq. 5).
///
/// # Errors
/// As [`scores`].
pub fn logit_confidence(logits: &[f64], classes: usize, labels: &[i32]) -> Result<Vec<f64>> {
    rows(logits, classes, labels, |log, label| {
        // 1 - p as the sum of the others: no digit is lost where p is near 1.
        let others = log.iter().enumerate().filter(|(class, _)| *class != label).map(|(_, l)| l.exp()).sum::<f64>();
        log[label] - others.max(f64::MIN_POSITIVE).ln()
    })
}

/// The offline likelihood ratio attack: for each sample, the probability that a model which was *not* trained on it would be
/// less confident than the target is, `Φ((target - mean) / deviation)` over the shadow models. Returned as the z value, which
/// orders alike and doesn't saturate. `shadows` holds each shadow model's [`logit_confidence`]; the deviation is shared by
/// all samples, as the paper advises for few shadow models (below 64).
///
/// # Errors
/// Fewer than two shadow models, or sizes that differ.
pub fn likelihood_ratio(target: &[f64], shadows: &[Vec<f64>]) -> Result<Vec<f64>> {
    if shadows.len() < 2 || shadows.iter().any(|shadow| shadow.len() != target.len()) || target.is_empty() {
        return Err(Error::new("membership", "needs two shadow models or more, with a score for each sample")
            .with("shadow models", shadows.len())
            .with("samples", target.len()));
    }
    let count = shadows.len() as f64;
    let means: Vec<f64> =
        (0..target.len()).map(|i| shadows.iter().map(|shadow| shadow[i]).sum::<f64>() / count).collect();
    let squares = |i: usize| shadows.iter().map(|shadow| (shadow[i] - means[i]).powi(2)).sum::<f64>();
    let variance = (0..target.len()).map(squares).sum::<f64>() / ((count - 1.0) * target.len() as f64);
    let deviation = variance.sqrt().max(1e-12);
    Ok(target.iter().zip(&means).map(|(value, mean)| (value - mean) / deviation).collect())
}

fn rows(
    logits: &[f64],
    classes: usize,
    labels: &[i32],
    mut score: impl FnMut(&[f64], usize) -> f64,
) -> Result<Vec<f64>> {
    let error = |problem: &str| Error::new("membership", problem);
    if classes == 0 || logits.len() != labels.len() * classes || labels.is_empty() {
        return Err(error("the numbers of logits and labels do not match")
            .with("logits", logits.len())
            .with("labels", labels.len())
            .with("classes", classes));
    }
    let one = |(at, (row, &label)): (usize, (&[f64], &i32))| {
        let label = usize::try_from(label).ok().filter(|&label| label < classes);
        let label = label.ok_or_else(|| error("a label is no class of the model").with("sample", at))?;
        if row.iter().any(|z| !z.is_finite()) {
            return Err(error("a logit isn't finite").with("sample", at));
        }
        let most = row.iter().fold(f64::NEG_INFINITY, |most, &z| most.max(z));
        let total = row.iter().map(|z| (z - most).exp()).sum::<f64>().ln();
        let log: Vec<f64> = row.iter().map(|z| z - most - total).collect();
        Ok(score(&log, label))
    };
    logits.chunks(classes).zip(labels).enumerate().map(one).collect()
}

/// How well scores tell members from others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Samples that were trained on.
    pub members: usize,
    /// Samples that were not.
    pub others: usize,
    /// Area under the ROC curve: the probability that a member's score is above another's, ties counting half.
    pub auc: f64,
    /// Largest true positive rate of a threshold whose false positive rate is at most 0.1 %.
    pub tpr_at_0_1_percent: f64,
    /// The same at 1 %.
    pub tpr_at_1_percent: f64,
    /// Largest mean of true positive and true negative rate over thresholds.
    pub balanced_accuracy: f64,
}

impl Curve {
    /// Measures scores, in n log n. A threshold lies between two scores: samples that tie fall on the same side.
    ///
    /// # Errors
    /// No member, no other, or a score that is NaN.
    pub fn of(members: &[f64], others: &[f64]) -> Result<Self> {
        if members.is_empty() || others.is_empty() || members.iter().chain(others).any(|score| score.is_nan()) {
            return Err(Error::new("membership", "needs members and others, with scores that are numbers")
                .with("members", members.len())
                .with("others", others.len()));
        }
        let all = members.iter().map(|&score| (score, true)).chain(others.iter().map(|&score| (score, false)));
        let mut all: Vec<(f64, bool)> = all.collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (positives, negatives) = (members.len() as f64, others.len() as f64);
        let mut curve = Self {
            members: members.len(),
            others: others.len(),
            auc: 0.0,
            tpr_at_0_1_percent: 0.0,
            tpr_at_1_percent: 0.0,
            balanced_accuracy: 0.5,
        };
        let (mut hits, mut alarms) = (0.0, 0.0);
        // Equality of f64, not of bits: 0 and -0 tie.
        for tied in all.chunk_by(|a, b| a.0 == b.0) {
            let right = tied.iter().filter(|(_, member)| *member).count() as f64;
            let wrong = tied.len() as f64 - right;
            // A trapezium: of the pairs within a tie, half.
            curve.auc += wrong * (hits + 0.5 * right);
            (hits, alarms) = (hits + right, alarms + wrong);
            let (tpr, fpr) = (hits / positives, alarms / negatives);
            // In whole samples: 1 of 1000 is 0.1 %, whatever 0.001 rounds to.
            if alarms * 1000.0 <= negatives {
                curve.tpr_at_0_1_percent = tpr;
            }
            if alarms * 100.0 <= negatives {
                curve.tpr_at_1_percent = tpr;
            }
            curve.balanced_accuracy = curve.balanced_accuracy.max(0.5 * (tpr + 1.0 - fpr));
        }
        curve.auc /= positives * negatives;
        Ok(curve)
    }
}

#[cfg(test)]
mod tests {
    use engine::rng::{Philox, Stream};
    use proptest::prelude::*;

    use super::*;

    /// By definition: all pairs, all thresholds.
    fn naive(members: &[f64], others: &[f64]) -> (f64, f64, f64) {
        let pairs = members.iter().flat_map(|m| others.iter().map(move |o| (m, o)));
        let wins: f64 = pairs
            .map(|(m, o)| {
                if m > o {
                    1.0
                } else if m == o {
                    0.5
                } else {
                    0.0
                }
            })
            .sum();
        let rate = |scores: &[f64], least: f64| {
            scores.iter().filter(|&&score| score >= least).count() as f64 / scores.len() as f64
        };
        let thresholds = || members.iter().chain(others).copied();
        let at =
            |most: f64| thresholds().filter(|&t| rate(others, t) <= most).map(|t| rate(members, t)).fold(0.0, f64::max);
        (wins / (members.len() * others.len()) as f64, at(0.001), at(0.01))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Few levels, so that most scores tie.
        #[test]
        fn curves_are_exact_with_ties(
            members in prop::collection::vec(0_u8..12, 1..60),
            others in prop::collection::vec(0_u8..10, 1..250),
        ) {
            let [members, others] = [members, others].map(|v| v.into_iter().map(f64::from).collect::<Vec<_>>());
            let curve = Curve::of(&members, &others).unwrap();
            let (auc, strict, loose) = naive(&members, &others);
            prop_assert!((curve.auc - auc).abs() < 1e-12);
            prop_assert_eq!((curve.tpr_at_0_1_percent, curve.tpr_at_1_percent), (strict, loose));
            let mirrored = Curve::of(&others, &members).unwrap();
            prop_assert!((curve.auc + mirrored.auc - 1.0).abs() < 1e-12);
        }

        #[test]
        fn signals_are_those_of_the_probabilities(seed: u64) {
            let philox = Philox::new(seed, 0, Stream::named("test"));
            let logits: Vec<f64> = (0..20).map(|i| 2.0 * f64::from(philox.normal(0, i))).collect();
            let labels: Vec<i32> = (0..5).map(|i| philox.below(1, i, 4).cast_signed()).collect();
            let [loss, entropy, confidence] = [Signal::Loss, Signal::Entropy, Signal::Confidence]
                .map(|signal| scores(&logits, 4, &labels, signal).unwrap());
            let logit = logit_confidence(&logits, 4, &labels).unwrap();
            for (i, row) in logits.chunks(4).enumerate() {
                let total: f64 = row.iter().map(|z| z.exp()).sum();
                let p: Vec<f64> = row.iter().map(|z| z.exp() / total).collect();
                let own = p[usize::try_from(labels[i]).unwrap()];
                prop_assert!((loss[i] - own.ln()).abs() < 1e-9);
                prop_assert!((entropy[i] - p.iter().map(|p| p * p.ln()).sum::<f64>()).abs() < 1e-9);
                prop_assert!((confidence[i] - p.iter().fold(0.0_f64, |a, b| a.max(*b))).abs() < 1e-9);
                prop_assert!((logit[i] - (own / (1.0 - own)).ln()).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn one_false_alarm_in_a_thousand_is_allowed() {
        let others: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        let found = |members: &[f64]| Curve::of(members, &others).unwrap().tpr_at_0_1_percent;
        assert_eq!(found(&[2.0, 0.9985, 0.9975, 0.0]), 0.5);
        assert_eq!(Curve::of(&[2.0, 0.0], &others[..999]).unwrap().tpr_at_0_1_percent, 0.5);
    }

    /// Members' confidence is shifted by two deviations of the shadows' spread; samples differ by much more, which hides it
    /// from a threshold and not from the ratio.
    #[test]
    fn the_ratio_sees_what_a_threshold_does_not() {
        let philox = Philox::new(4, 0, Stream::named("test"));
        let normal = |sample: u32, i: usize| f64::from(philox.normal(sample, i));
        let hardness: Vec<f64> = (0..400).map(|i| 20.0 * normal(0, i)).collect();
        let shadows: Vec<Vec<f64>> =
            (1..9).map(|model| (0..400).map(|i| hardness[i] + normal(model, i)).collect()).collect();
        let target: Vec<f64> = (0..400).map(|i| hardness[i] + normal(9, i) + if i < 200 { 2.0 } else { 0.0 }).collect();
        let auc = |scores: &[f64]| Curve::of(&scores[..200], &scores[200..]).unwrap().auc;
        let ratio = likelihood_ratio(&target, &shadows).unwrap();
        assert!(auc(&target) < 0.65 && auc(&ratio) > 0.85, "{} {}", auc(&target), auc(&ratio));
        // One sample, by hand: mean 1, variance (1 + 1) / (2 - 1).
        let one = likelihood_ratio(&[3.0], &[vec![0.0], vec![2.0]]).unwrap();
        assert!((one[0] - 2.0 / 2.0_f64.sqrt()).abs() < 1e-12, "{one:?}");
        // z values: those of others have deviation sqrt(1 + 1/8).
        let spread = (ratio[200..].iter().map(|z| z * z).sum::<f64>() / 200.0).sqrt();
        assert!((spread - 1.0607).abs() < 0.15, "{spread}");
    }

    #[test]
    fn bad_input_is_refused() {
        assert!(Curve::of(&[], &[1.0]).is_err() && Curve::of(&[f64::NAN], &[1.0]).is_err());
        assert!(scores(&[1.0; 6], 3, &[0, 3], Signal::Loss).unwrap_err().to_string().contains("no class"));
        assert!(scores(&[1.0; 5], 3, &[0, 1], Signal::Loss).is_err());
        assert!(scores(&[f64::NAN; 3], 3, &[0], Signal::Loss).is_err());
        assert!(likelihood_ratio(&[1.0], &[vec![1.0]]).is_err());
        assert!(likelihood_ratio(&[1.0], &[vec![1.0], vec![1.0, 2.0]]).is_err());
    }
}
