//! Corruption error: how much harder corruptions are for a model than for a baseline.
//!
//! Hendrycks and Dietterich, ICLR 2019: CE of a corruption is the sum of a model's error rates over the five severities divided by
//! that of the baseline; mCE is the mean over the 15 corruptions. Relative CE subtracts the clean error from every one of them first.
//! Figures are joined by the names of the corruptions, never by their order.

use std::path::Path;

use engine::{Error, Result};
use serde::{Deserialize, Serialize};

use super::accuracy::CorruptionReport;
use super::corruption::{Corruption, SEVERITIES};

/// AlexNet's error on ImageNet-C, mean over the severities, as fractions.
const ALEXNET: [(Corruption, f64); 15] = [
    (Corruption::GaussianNoise, 0.886_428),
    (Corruption::ShotNoise, 0.894_468),
    (Corruption::ImpulseNoise, 0.922_640),
    (Corruption::DefocusBlur, 0.819_880),
    (Corruption::GlassBlur, 0.826_268),
    (Corruption::MotionBlur, 0.785_948),
    (Corruption::ZoomBlur, 0.798_360),
    (Corruption::Snow, 0.866_816),
    (Corruption::Frost, 0.826_572),
    (Corruption::Fog, 0.819_324),
    (Corruption::Brightness, 0.564_592),
    (Corruption::Contrast, 0.853_204),
    (Corruption::ElasticTransform, 0.646_056),
    (Corruption::Pixelate, 0.717_840),
    (Corruption::JpegCompression, 0.606_500),
];
/// AlexNet's error on clean ImageNet: torchvision's weights classify 56.522 % right; the paper rounds to 43.5 %.
const ALEXNET_CLEAN: f64 = 0.434_78;

/// The errors of a model that others are compared with, fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What it is, for reports.
    pub name: String,
    /// Its error on clean images; without it there is no relative mCE.
    pub clean: Option<f64>,
    /// Its error for each corruption, the mean over the five severities.
    pub errors: std::collections::BTreeMap<String, f64>,
}

/// A model's figures over corruptions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Mean accuracy over all corruptions and severities that were measured, a fraction.
    pub mean_accuracy: f64,
    /// 1 - [`mean_accuracy`](Self::mean_accuracy).
    pub mean_error: f64,
    /// Mean error of each corruption over its severities, in the order of the reports.
    pub errors: Vec<(String, f64)>,
    /// The comparison with a baseline.
    pub comparison: Option<Comparison>,
    /// Whether every figure is: `frost` without photographs is not.
    pub comparable: bool,
}

/// Corruption errors; 1 is the baseline's own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The baseline's name.
    pub baseline: String,
    /// CE of each of the 15 corruptions.
    pub ce: Vec<(String, f64)>,
    /// Their mean.
    pub mce: f64,
    /// Mean of the relative CEs, where the baseline's clean error is known.
    pub relative_mce: Option<f64>,
}

impl Baseline {
    /// AlexNet on ImageNet-C, to which the published mCEs refer. It says nothing about other data sets.
    pub fn alexnet() -> Self {
        let errors = ALEXNET.iter().map(|(corruption, error)| (corruption.name().to_owned(), *error)).collect();
        Self { name: "AlexNet".to_owned(), clean: Some(ALEXNET_CLEAN), errors }
    }

    /// Reads a JSON file: `{"name": "ResNet-18", "clean": 0.05, "errors": {"gaussian_noise": 0.4, ...}}`.
    ///
    /// # Errors
    /// The file can't be read, a name is no corruption, one of the 15 is missing, or an error is not inside (0, 1].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read", &error))?;
        let place = path.display().to_string();
        let example =
            r#"{"name": "ResNet-18", "clean": 0.05, "errors": {"gaussian_noise": 0.4, ...}}, all 15 corruptions"#;
        let baseline: Self = serde_json::from_str(&text)
            .map_err(|error| Error::new(&*place, format!("not a baseline: {error}")).help(example))?;
        for (name, &error) in &baseline.errors {
            name.parse::<Corruption>().map_err(|error| error.within(&place))?;
            if !(error > 0.0 && error <= 1.0) {
                return Err(Error::new(place, "errors are fractions inside (0, 1]").with(name, error));
            }
        }
        if let Some(clean) = baseline.clean.filter(|clean| !(0.0..=1.0).contains(clean)) {
            return Err(Error::new(place, "errors are fractions in [0, 1]").with("clean", clean));
        }
        let missing: Vec<&str> = Corruption::STANDARD
            .map(Corruption::name)
            .into_iter()
            .filter(|name| !baseline.errors.contains_key(*name))
            .collect();
        if missing.is_empty() {
            return Ok(baseline);
        }
        Err(Error::new(place, "corruptions are missing").with("missing", missing.join(", ")).help(example))
    }

    fn error(&self, corruption: Corruption) -> Result<f64> {
        self.errors.get(corruption.name()).copied().ok_or_else(|| {
            Error::new("mCE", "the baseline lacks a corruption")
                .with("baseline", &self.name)
                .with("corruption", corruption.name())
        })
    }

    /// CE, mCE and relative mCE of a model of clean error `clean` against this baseline.
    ///
    /// # Errors
    /// One of the 15 corruptions or five severities is missing, or there twice; or the baseline's error does not rise.
    pub fn compare(&self, reports: &[CorruptionReport], clean: f64) -> Result<Comparison> {
        let (mut ce, mut relative) = (Vec::new(), Vec::new());
        for corruption in Corruption::STANDARD {
            let (error, own) = (complete(reports, corruption)?, self.error(corruption)?);
            ce.push((corruption.name().to_owned(), error / own));
            if let Some(own_clean) = self.clean {
                if own <= own_clean {
                    return Err(Error::new("relative mCE", "the baseline's error does not rise under a corruption")
                        .with("corruption", corruption.name())
                        .help("leave out its clean error"));
                }
                relative.push((error - clean) / (own - own_clean));
            }
        }
        let ratios: Vec<f64> = ce.iter().map(|(_, ratio)| *ratio).collect();
        Ok(Comparison {
            baseline: self.name.clone(),
            ce,
            mce: mean(&ratios),
            relative_mce: self.clean.map(|_| mean(&relative)),
        })
    }
}

impl Summary {
    /// Means over what was measured, and the comparison with a baseline if there is one.
    ///
    /// # Errors
    /// Nothing was measured, or as [`Baseline::compare`].
    pub fn of(reports: &[CorruptionReport], clean: f64, baseline: Option<&Baseline>) -> Result<Self> {
        if reports.is_empty() {
            return Err(Error::new("corruptions", "none was measured"));
        }
        let mut names: Vec<&str> = Vec::new();
        for report in reports {
            if !names.contains(&report.name.as_str()) {
                names.push(&report.name);
            }
        }
        let error_of = |name: &str| {
            let own: Vec<f64> =
                reports.iter().filter(|report| report.name == name).map(|report| 1.0 - report.accuracy).collect();
            (name.to_owned(), mean(&own))
        };
        let accuracies: Vec<f64> = reports.iter().map(|report| report.accuracy).collect();
        let mean_accuracy = mean(&accuracies);
        Ok(Self {
            mean_accuracy,
            mean_error: 1.0 - mean_accuracy,
            errors: names.into_iter().map(error_of).collect(),
            comparison: baseline.map(|baseline| baseline.compare(reports, clean)).transpose()?,
            comparable: reports.iter().all(|report| report.comparable),
        })
    }
}

/// Mean error of a corruption over all five severities.
fn complete(reports: &[CorruptionReport], corruption: Corruption) -> Result<f64> {
    let errors: Vec<f64> = SEVERITIES
        .map(|severity| {
            let of = |report: &&CorruptionReport| report.name == corruption.name() && report.severity == severity;
            let found: Vec<&CorruptionReport> = reports.iter().filter(of).collect();
            match found.as_slice() {
                [report] => Ok(1.0 - report.accuracy),
                found => {
                    let problem =
                        if found.is_empty() { "a measurement is missing" } else { "a measurement is there twice" };
                    Err(Error::new("mCE", problem)
                        .with("corruption", corruption.name())
                        .with("severity", severity)
                        .help("mCE takes all 15 standard corruptions at all five severities"))
                }
            }
        })
        .collect::<Result<_>>()?;
    Ok(mean(&errors))
}

#[expect(clippy::cast_precision_loss, reason = "a few values")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(corruption: Corruption, severity: u8, accuracy: f64) -> CorruptionReport {
        CorruptionReport { name: corruption.name().to_owned(), severity, accuracy, comparable: true }
    }

    /// Accuracies by corruption and severity.
    fn reports(accuracy: impl Fn(usize, u8) -> f64) -> Vec<CorruptionReport> {
        let all = Corruption::STANDARD.into_iter().enumerate();
        all.flat_map(|(at, corruption)| SEVERITIES.map(|s| report(corruption, s, accuracy(at, s))).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn alexnet_is_1_and_a_perfect_model_0() {
        let alexnet = Baseline::alexnet();
        let own = reports(|at, severity| 1.0 - ALEXNET[at].1 + (f64::from(severity) - 3.0) * 0.01);
        let found = alexnet.compare(&own, ALEXNET_CLEAN).unwrap();
        assert!((found.mce - 1.0).abs() < 1e-12 && (found.relative_mce.unwrap() - 1.0).abs() < 1e-12);
        let found = alexnet.compare(&reports(|_, _| 1.0), 0.0).unwrap();
        assert_eq!((found.mce, found.relative_mce), (0.0, Some(0.0)));
        // The published mean of AlexNet's errors.
        let mean_error = ALEXNET.iter().map(|(_, error)| error).sum::<f64>() / 15.0;
        assert!((mean_error - 0.7889).abs() < 1e-4, "{mean_error}");
    }

    #[test]
    fn what_is_missing_or_twice_is_named() {
        let mut own = reports(|_, _| 0.5);
        let frost = own.iter().position(|r| r.name == "frost" && r.severity == 4).unwrap();
        let removed = own.remove(frost);
        let error = Baseline::alexnet().compare(&own, 0.2).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("frost") && error.contains('4'), "{error}");
        own.extend([removed.clone(), removed]);
        assert!(Baseline::alexnet().compare(&own, 0.2).unwrap_err().to_string().contains("twice"));
        assert!(Summary::of(&[], 0.0, None).is_err());
    }

    #[test]
    fn baselines_are_read_and_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        let alexnet = Baseline::alexnet();
        std::fs::write(&path, serde_json::to_string(&alexnet).unwrap()).unwrap();
        assert_eq!(Baseline::read(&path).unwrap(), alexnet);
        let mut without_fog = alexnet.clone();
        without_fog.errors.remove("fog");
        let mut percent = alexnet.clone();
        percent.errors.insert("fog".to_owned(), 81.9);
        let mut misspelt = alexnet;
        misspelt.errors.insert("jpeg".to_owned(), 0.5);
        for (baseline, part) in [(without_fog, "fog"), (percent, "81.9"), (misspelt, "jpeg")] {
            std::fs::write(&path, serde_json::to_string(&baseline).unwrap()).unwrap();
            let error = Baseline::read(&path).unwrap_err().to_string();
            assert!(error.contains("baseline.json") && error.contains(part), "{error}");
        }
    }

    proptest! {
        /// Against the definition with sums, whatever the order of the reports.
        #[test]
        fn equals_the_ratio_of_sums(accuracies in prop::collection::vec(0.0..1.0_f64, 75), turn in 0..75_usize, clean in 0.0..0.5_f64) {
            let mut own = reports(|at, severity| accuracies[at * 5 + usize::from(severity) - 1]);
            own.rotate_left(turn);
            let found = Baseline::alexnet().compare(&own, clean).unwrap();
            let (mut mce, mut relative) = (0.0, 0.0);
            for (at, (_, alexnet)) in ALEXNET.iter().enumerate() {
                let errors: Vec<f64> = accuracies[at * 5..at * 5 + 5].iter().map(|accuracy| 1.0 - accuracy).collect();
                mce += errors.iter().sum::<f64>() / (5.0 * alexnet) / 15.0;
                let rise: f64 = errors.iter().map(|error| error - clean).sum();
                relative += rise / (5.0 * (alexnet - ALEXNET_CLEAN)) / 15.0;
            }
            prop_assert!((found.mce - mce).abs() < 1e-12 && (found.relative_mce.unwrap() - relative).abs() < 1e-11);
            let summary = Summary::of(&own, clean, None).unwrap();
            prop_assert!((summary.mean_accuracy - accuracies.iter().sum::<f64>() / 75.0).abs() < 1e-12);
            prop_assert!(summary.comparison.is_none() && summary.comparable && summary.errors.len() == 15);
        }
    }
}
