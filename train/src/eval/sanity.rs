//! What makes a robustness figure worthless without anybody noticing, looked for before and while one is measured: pixels
//! outside [0, 1], images normalised twice, labels of other classes, probabilities where logits are meant, outputs that do not
//! depend on the image, gradients that are 0. Each is an error or a [`Warning`] that says what to do.

use std::fmt;

use engine::{Error, Result};
use models::Normalisation;
use serde::{Deserialize, Serialize};

/// How far beyond [0, 1] rounding may carry a pixel; such pixels are clamped.
pub const PIXEL_TOLERANCE: f32 = 1e-6;

/// How far off 1 a row of probabilities in f32 may sum.
const SUM_TOLERANCE: f64 = 1e-4;

/// Share of samples without any gradient from which on a gradient attack says little.
const MASKED_SHARE: f64 = 0.05;

/// Something that does not stop a run, but what its figures mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What was seen.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl Warning {
    fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}

/// Checks that images `[n, c, h, w]` lie in [0, 1] for a model that normalises them by `normalisation`; what rounding carried
/// beyond by at most [`PIXEL_TOLERANCE`] is clamped.
///
/// # Errors
/// A pixel lies outside or is NaN: with its position, what the values look like (normalised already, bytes), and the remedy.
pub fn check_images(place: &str, images: &mut [f32], dims: [usize; 3], normalisation: &Normalisation) -> Result<()> {
    // Not `pixel < 0 || pixel > 1`: NaN must be refused.
    let inside = -PIXEL_TOLERANCE..=1.0 + PIXEL_TOLERANCE;
    let Some(at) = images.iter().position(|pixel| !inside.contains(pixel)) else {
        images.iter_mut().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
        return Ok(());
    };
    let [_, height, width] = dims;
    let volume = dims.iter().product::<usize>().max(1);
    let (area, within) = ((height * width).max(1), at % volume);
    let index = [at / volume, within / area, within / width.max(1) % height.max(1), within % width.max(1)];
    let error = Error::new(place, "a pixel lies outside [0, 1]")
        .with("index [n, c, h, w]", format!("{index:?}"))
        .with("value", images.get(at).copied().unwrap_or(f32::NAN));
    Err(explain(error, images, normalisation))
}

/// What images outside [0, 1] probably are.
fn explain(error: Error, images: &[f32], normalisation: &Normalisation) -> Error {
    let (least, most) = images.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    #[expect(clippy::cast_precision_loss, reason = "a count of pixels")]
    let mean = images.iter().map(|&x| f64::from(x)).sum::<f64>() / images.len().max(1) as f64;
    let error = error.with("range", format!("{least} to {most}")).with("mean", format!("{mean:.4}"));
    let normalises = *normalisation != Normalisation::none(normalisation.mean.len());
    // Normalised photographs lie around 0, their dark pixels well below.
    if least < -0.5 && mean.abs() < 1.0 && normalises {
        return error
            .with("model's normalisation", format!("{:?}/{:?}", normalisation.mean, normalisation.std))
            .help("these images look normalised already, and the model normalises them again: give them as they were before, in [0, 1], or say --normalize none");
    }
    if least >= 0.0 && most > 2.0 && most <= 255.0 {
        return error.help("these look like bytes: divide by 255");
    }
    error.help("give images as they are, before any normalisation: the model normalises")
}

/// Checks that labels are class indices below `classes`.
///
/// # Errors
/// The first that is not, with its position.
pub fn check_labels(place: &str, labels: &[i32], classes: usize) -> Result<()> {
    let in_range = |label: &i32| usize::try_from(*label).is_ok_and(|label| label < classes);
    match labels.iter().position(|label| !in_range(label)) {
        None => Ok(()),
        Some(at) => Err(Error::new(place, "a label is no class of the model")
            .with("sample", at)
            .with("label", labels.get(at).copied().unwrap_or(-1))
            .with("classes", format!("0 to {}", classes.saturating_sub(1)))
            .help("labels are class indices from 0 on, in the order of the model's head")),
    }
}

/// Looks at a model's outputs `[n, classes]`, which should be logits: rows that are probabilities, rows that are all alike
/// though the images differ, values that are not finite.
pub fn check_outputs(outputs: &[f32], classes: usize) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let rows: Vec<&[f32]> = outputs.chunks_exact(classes.max(1)).collect();
    let broken = rows.iter().filter(|row| row.iter().any(|value| !value.is_finite())).count();
    if broken > 0 {
        warnings.push(Warning::new(
            format!("{broken} of {} outputs hold NaN or infinity", rows.len()),
            "their predictions mean nothing: check the weights and the images",
        ));
    }
    let is_distribution = |row: &&[f32]| {
        let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
        row.iter().all(|p| (0.0..=1.0).contains(p)) && (sum - 1.0).abs() <= SUM_TOLERANCE
    };
    if classes > 1 && !rows.is_empty() && rows.iter().all(is_distribution) {
        warnings.push(Warning::new(
            "the model's outputs are probabilities (every row lies in [0, 1] and sums to 1)",
            "losses and margins need logits: take the softmax off the model, else gradients vanish and robustness is overestimated",
        ));
    }
    let mut pairs = rows.windows(2);
    if rows.len() > 1 && broken == 0 && pairs.all(|pair| pair.first() == pair.get(1)) {
        warnings.push(Warning::new(
            format!("all {} images give the same output", rows.len()),
            "the model does not see them: check the normalisation and the weights",
        ));
    }
    warnings
}

/// How many gradients an attack can follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gradients {
    /// Samples looked at.
    pub samples: usize,
    /// Samples whose gradient is 0 everywhere.
    pub zero: usize,
    /// Samples with a gradient that is NaN or infinite somewhere.
    pub not_finite: usize,
    /// Share of single entries that are 0, of all samples.
    pub zero_entries: f64,
}

/// Looks at the loss's gradients to images, `volume` values each.
pub fn check_gradients(gradients: &[f32], volume: usize) -> Gradients {
    let rows = || gradients.chunks_exact(volume.max(1));
    let count = |holds: &dyn Fn(&&[f32]) -> bool| rows().filter(|row| holds(row)).count();
    let zeros = gradients.iter().filter(|&&g| g == 0.0).count();
    Gradients {
        samples: rows().count(),
        zero: count(&|row| row.iter().all(|&g| g == 0.0)),
        not_finite: count(&|row| row.iter().any(|g| !g.is_finite())),
        zero_entries: share(zeros, gradients.len()),
    }
}

impl Gradients {
    /// Share of the samples whose gradient is 0 everywhere.
    pub fn zero_share(&self) -> f64 {
        share(self.zero, self.samples)
    }

    /// What an attack's figures are worth with such gradients: check 9 of Carlini et al. (1902.06705).
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.not_finite > 0 {
            warnings.push(Warning::new(
                format!("{} of {} gradients hold NaN or infinity", self.not_finite, self.samples),
                "the attack can't follow them: compute in f32 (no --bf16, no --f16) and check the weights",
            ));
        }
        if self.zero_share() >= MASKED_SHARE {
            warnings.push(Warning::new(
                format!("{} of {} gradients are 0 everywhere", self.zero, self.samples),
                "robustness is overestimated where a loss saturates: attack the margin (--objective margin) or without gradients",
            ));
        }
        warnings
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: [usize; 3] = [3, 4, 5];

    fn images(change: impl Fn(usize, f32) -> f32) -> Vec<f32> {
        (0..2 * 60).map(|at| change(at, (at % 7) as f32 / 6.0)).collect()
    }

    fn refused(mut images: Vec<f32>, normalisation: &Normalisation) -> String {
        check_images("x.npy", &mut images, DIMS, normalisation).unwrap_err().to_string()
    }

    #[test]
    fn rounding_is_clamped_and_more_is_refused_with_its_place() {
        let mut near = images(|_, x| if x == 0.0 { -9e-7 } else { x + 4e-7 });
        check_images("x", &mut near, DIMS, &Normalisation::half(3)).unwrap();
        assert!(near.iter().all(|pixel| (0.0..=1.0).contains(pixel)) && near.contains(&0.0) && near.contains(&1.0));
        // Image 1, channel 2, row 3, column 4: the last value.
        let text = refused(images(|at, x| if at == 119 { 1.00001 } else { x }), &Normalisation::half(3));
        assert!(text.contains("x.npy") && text.contains("[1, 2, 3, 4]") && text.contains("1.00001"), "{text}");
        assert!(text.contains("before any normalisation"), "{text}");
        assert!(refused(images(|at, x| if at == 3 { f32::NAN } else { x }), &Normalisation::half(3)).contains("NaN"));
    }

    #[test]
    fn images_normalised_twice_and_bytes_are_recognised() {
        let normalised = images(|_, x| (x - 0.45) / 0.225);
        let text = refused(normalised.clone(), &Normalisation::imagenet());
        assert!(
            text.contains("normalises them again") && text.contains("0.485") && text.contains("--normalize"),
            "{text}"
        );
        let text = refused(normalised, &Normalisation::none(3));
        assert!(!text.contains("again"), "nothing normalises a second time: {text}");
        let text = refused(images(|_, x| x * 255.0), &Normalisation::imagenet());
        assert!(text.contains("divide by 255"), "{text}");
    }

    #[test]
    fn labels_out_of_range_are_named() {
        check_labels("y", &[0, 9], 10).unwrap();
        for label in [10, -1] {
            let text = check_labels("y", &[0, label], 10).unwrap_err().to_string();
            assert!(text.contains(&label.to_string()) && text.contains("0 to 9"), "{text}");
        }
    }

    #[test]
    fn probabilities_constants_and_nans_are_told_from_logits() {
        let said = |outputs: &[f32]| {
            let warnings = check_outputs(outputs, 3);
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said(&[0.2, 0.3, 0.6, 0.1, 0.1, 0.2]), "", "sums of 1.1 and 0.4");
        assert_eq!(said(&[1.2, -0.2, 0.0, 0.1, 0.1, 0.8]), "", "a sum of 1 with entries beyond [0, 1]");
        assert!(said(&[0.2, 0.3, 0.5, 0.1, 0.1, 0.8]).contains("probabilities"));
        assert!(said(&[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]).contains("same output"));
        assert_eq!(said(&[1.0, 2.0, 3.0]), "", "one image is no evidence");
        let text = said(&[1.0, f32::INFINITY, 3.0, 1.0, 2.0, 3.0]);
        assert!(text.contains("1 of 2") && text.contains("NaN"), "{text}");
    }

    #[test]
    fn gradients_that_lead_nowhere_are_counted() {
        let found = check_gradients(&[0.0, 0.0, 1.0, 0.0, f32::NAN, 2.0, 0.0, 0.0], 2);
        assert_eq!(found, Gradients { samples: 4, zero: 2, not_finite: 1, zero_entries: 0.625 });
        let text: Vec<String> = found.warnings().iter().map(ToString::to_string).collect();
        assert!(text[0].contains("1 of 4") && text[1].contains("2 of 4") && text[1].contains("margin"), "{text:?}");
        assert!(check_gradients(&[1.0, 0.0, 2.0, 3.0], 2).warnings().is_empty());
        assert_eq!(check_gradients(&[], 2).zero_share(), 0.0);
    }
}
