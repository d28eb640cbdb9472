//! Figures of a model over seeds of its draws, and over classes.

use std::fmt;

use serde::Serialize;
use train::data::Dataset;
use train::eval::accuracy::argmax;
use train::eval::calibration::Calibration;
use train::eval::outputs::Outputs;

/// Mean and standard deviation (of a sample) of repeated measurements.
#[derive(Serialize)]
struct Spread {
    mean: f64,
    std: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a number of seeds")]
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        Self { mean, std: (squares / (count - 1.0)).sqrt() }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4} +- {:.4}", self.mean, self.std)
    }
}

/// Clean figures under several seeds of the draws.
#[derive(Serialize)]
pub struct OverSeeds {
    accuracy: Spread,
    nll: Spread,
    ece15: Spread,
}

impl OverSeeds {
    /// Of two or more measurements.
    pub fn of(all: &[Calibration]) -> Self {
        let spread = |figure: fn(&Calibration) -> f64| Spread::of(&all.iter().map(figure).collect::<Vec<_>>());
        Self { accuracy: spread(|c| c.accuracy), nll: spread(|c| c.nll), ece15: spread(|c| c.ece15) }
    }
}

impl fmt::Display for OverSeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "accuracy {}, NLL {}, ECE-15 {}", self.accuracy, self.nll, self.ece15)
    }
}

#[derive(Serialize)]
struct Class {
    name: String,
    correct: usize,
    total: usize,
}

/// Accuracy of each class, for data sets with classes of unequal size.
#[derive(Serialize)]
pub struct PerClass {
    /// Mean accuracy over the classes that have samples, a fraction.
    mean: f64,
    classes: Vec<Class>,
}

impl PerClass {
    /// Of a model's outputs on `data`.
    pub fn of(outputs: &Outputs, data: &Dataset) -> Self {
        let mut classes: Vec<Class> =
            data.classes().iter().map(|name| Class { name: name.clone(), correct: 0, total: 0 }).collect();
        for (row, &label) in outputs.probabilities.chunks_exact(outputs.classes.max(1)).zip(&outputs.labels) {
            let Some((at, class)) = usize::try_from(label).ok().and_then(|at| Some((at, classes.get_mut(at)?))) else {
                continue;
            };
            class.correct += usize::from(argmax(row) == at);
            class.total += 1;
        }
        let seen = classes.iter().filter(|class| class.total > 0);
        #[expect(clippy::cast_precision_loss, reason = "sample counts")]
        let shares: Vec<f64> = seen.map(|class| class.correct as f64 / class.total as f64).collect();
        #[expect(clippy::cast_precision_loss, reason = "a number of classes")]
        let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        Self { mean, classes }
    }
}

impl fmt::Display for PerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mean over {} classes: {:.2}%", self.classes.len(), 100.0 * self.mean)
    }
}
