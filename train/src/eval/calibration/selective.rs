//! Selective prediction: are the samples that a model is sure of the ones that it gets right?

use super::scores::{Scores, over, ratio};

/// Samples of one confidence.
struct Tie {
    right: usize,
    wrong: usize,
}

impl Scores {
    /// Groups of equal confidence, the surest first.
    fn ties(&self) -> Vec<Tie> {
        let mut outcomes = self.outcomes();
        outcomes.sort_by(|a, b| b.0.total_cmp(&a.0));
        let groups = outcomes.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq());
        let tie = |group: &[(f64, bool)]| {
            let right = group.iter().filter(|outcome| outcome.1).count();
            Tie { right, wrong: group.len() - right }
        };
        groups.map(tie).collect()
    }

    /// Area under the risk-coverage curve: the mean over n = 1..N of the error rate of the n surest samples (Geifman,
    /// Uziel and El-Yaniv, 1805.08206). Within a group of equal confidence the error rate is that of a random order, so that
    /// the order of the samples does not matter.
    pub fn aurc(&self) -> f64 {
        let (mut before, mut errors, mut area) = (0, 0, 0.0);
        for Tie { right, wrong } in self.ties() {
            let size = right + wrong;
            for taken in 1..=size {
                let expected = ratio(errors, 1) + ratio(wrong, size) * ratio(taken, 1);
                area += over(expected, before + taken);
            }
            (before, errors) = (before + size, errors + wrong);
        }
        over(area, self.len())
    }

    /// Area under the ROC curve of confidence as a test for correctness: the probability that a right sample is surer than
    /// a wrong one, ties counting one half (Hendrycks and Gimpel, 1610.02136). `None` without right or without wrong samples.
    pub fn auroc(&self) -> Option<f64> {
        let wrong = self.len() - self.correct();
        if self.correct() == 0 || wrong == 0 {
            return None;
        }
        let (mut wrong_above, mut lost) = (0, 0.0);
        for tie in self.ties() {
            lost += ratio(tie.right, 1) * (ratio(wrong_above, 1) + 0.5 * ratio(tie.wrong, 1));
            wrong_above += tie.wrong;
        }
        Some(1.0 - over(over(lost, self.correct()), wrong))
    }
}
