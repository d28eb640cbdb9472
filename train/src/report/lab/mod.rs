//! The report of the robustness laboratory: what the commands measure, as plain structs that lie in JSON files, and the page
//! that is made of them.
//!
//! A command that measures something fills the sections of a [`LabReport`] that it knows and writes it into its run folder
//! with [`LabReport::write`], under a name of its own (`eval.json`, `audit.json`). [`run_folder::read`] finds such files by
//! their key `vitrum_lab`, and [`page::page`] makes one page of any number of them.

pub mod page;
pub mod run_folder;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use engine::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};

use crate::eval::calibration::Calibration;
use crate::eval::sanity::Warning;

/// Version of the format of result files.
pub const FORMAT: u32 = 1;

/// What one command found out. Every section is optional: a command fills those it knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabReport {
    /// [`FORMAT`]; the key by which result files are told from other JSON.
    pub vitrum_lab: u32,
    /// What is needed to repeat it.
    pub run: Provenance,
    /// What makes the figures mean less than they seem to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Single figures, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
    /// Calibration, before and after temperature scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationResult>,
    /// Accuracy against eps, one curve per attack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacks: Option<AttackCurves>,
    /// The stages of an ensemble of attacks such as AutoAttack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<Cascade>,
    /// Accuracy under corruptions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corruptions: Option<CorruptionMap>,
    /// Images found by inverting features or gradients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inversion: Option<Gallery>,
    /// Images with noise of the nullspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nullspace: Option<Gallery>,
    /// The checks of a robustness evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditReport>,
}

/// Everything that a figure depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The command line.
    pub command: String,
    /// Version of the program.
    pub version: String,
    /// Its revision, where it is known.
    pub commit: Option<String>,
    /// What it ran on.
    pub device: String,
    /// Seed of everything random.
    pub seed: u64,
    /// The weights.
    pub weights: Option<Source>,
    /// The data.
    pub data: Option<Source>,
    /// Every hyper-parameter by its name.
    pub settings: BTreeMap<String, serde_json::Value>,
}

/// Something that was read, by its content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Name or path.
    pub name: String,
    /// Images or tensors in it.
    pub count: usize,
    /// SHA-256 of the content as it was read, in hexadecimal.
    pub sha256: String,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Standard name with its constants: `ece15`, `accuracy.pgd20-linf`.
    pub name: String,
    /// The figure; JSON writes `null` for one that is not finite, which is read as NaN.
    #[serde(deserialize_with = "null_is_nan")]
    pub value: f64,
    /// What it was measured on: `clean`, `gaussian_noise 3`.
    pub on: String,
}

impl Measure {
    /// `value` of the measure `name`, found on `on`.
    pub fn new(name: impl Into<String>, value: f64, on: impl Into<String>) -> Self {
        Self { name: name.into(), value, on: on.into() }
    }
}

/// Calibration on the evaluated images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationResult {
    /// Which images: the set's name.
    pub evaluated: String,
    /// As the model is.
    pub before: Calibration,
    /// With its logits divided by a temperature.
    pub temperature: Option<TemperatureResult>,
}

/// What temperature scaling did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemperatureResult {
    /// The divisor of the logits.
    pub temperature: f64,
    /// Whether it lies at the end of the searched range, where the least NLL lies beyond.
    pub at_bound: bool,
    /// Which images it was fitted on; never one of the evaluated ones.
    pub fitted_on: String,
    /// Number of those images.
    pub fitted_images: usize,
    /// Calibration of the evaluated images at that temperature.
    pub after: Calibration,
}

/// Robust accuracy against eps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttackCurves {
    /// One per attack and norm.
    pub curves: Vec<Curve>,
}

/// An attack's accuracy at some radii.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// Name with its constants: `pgd20-linf`.
    pub attack: String,
    /// `linf` or `l2`: curves of one norm share a chart.
    pub norm: String,
    /// (eps with images in [0, 1], accuracy as a fraction), by rising eps.
    pub points: Vec<(f64, f64)>,
}

/// Attacks of which each sees only what the ones before it left over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cascade {
    /// `standard`, `plus`, `rand`.
    pub name: String,
    /// Ball: `Linf 8/255`.
    pub ball: String,
    /// Images.
    pub total: usize,
    /// Correct ones without an attack: what the first stage attacks.
    pub clean: usize,
    /// Stages in order.
    pub stages: Vec<Stage>,
}

/// One stage of a cascade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// `apgd-ce`.
    pub attack: String,
    /// Images that are still correct after it.
    pub survivors: usize,
}

/// Accuracy per corruption and severity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptionMap {
    /// Accuracy without corruption, a fraction.
    pub clean: Option<f64>,
    /// Cells in any order; missing ones are left empty.
    pub cells: Vec<CorruptionCell>,
    /// Mean corruption error as a fraction: of the baseline's errors where there is a baseline, else the plain mean.
    pub mce: Option<f64>,
    /// The same of the errors beyond the clean error.
    pub relative_mce: Option<f64>,
    /// Whose errors mCE divides by: `AlexNet`; `None` for none.
    pub baseline: Option<String>,
}

/// Accuracy under one corruption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptionCell {
    /// `gaussian_noise`.
    pub corruption: String,
    /// 1 to 5.
    pub severity: u8,
    /// A fraction.
    pub accuracy: f64,
    /// Whether the figure can be compared with published ones: `frost` without the published photographs can't.
    #[serde(default = "yes")]
    pub comparable: bool,
}

impl CorruptionCell {
    /// What a measure of it is said to be on: `fog 3`, `frost 3 (not comparable)`.
    pub fn label(&self) -> String {
        let remark = if self.comparable { "" } else { NOT_COMPARABLE };
        format!("{} {}{remark}", self.corruption, self.severity)
    }
}

/// Stands behind the name of a corruption whose figures differ from published ones by their making.
const NOT_COMPARABLE: &str = " (not comparable)";

/// Files of older versions do not say whether a corruption is comparable.
fn yes() -> bool {
    true
}

/// Rows of pictures that lie beside the result file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gallery {
    /// What is shown and how it was made.
    pub note: String,
    /// Rows.
    pub strips: Vec<GalleryStrip>,
}

/// A row of pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GalleryStrip {
    /// Heading; empty for none.
    pub title: String,
    /// From left to right.
    pub pictures: Vec<GalleryPicture>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GalleryPicture {
    /// Name of a PNG file in the folder of the result file, as [`crate::report::picture::png`] makes it.
    pub file: String,
    /// What it is; lines are kept.
    pub caption: String,
}

/// The checks of a robustness evaluation (Carlini et al., "On evaluating adversarial robustness", 1902.06705).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditReport {
    /// By rising number.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Number in the list, from 1 on.
    pub number: u32,
    /// What must hold: `iterative attacks are at least as strong as a single step`.
    pub name: String,
    /// Whether it does.
    pub passed: bool,
    /// What was measured: `PGD-20 31.2 % <= FGSM 40.1 %`.
    pub figure: String,
    /// What it means, and what to do where it failed.
    pub detail: String,
}

impl LabReport {
    /// A report without sections.
    pub fn new(run: Provenance) -> Self {
        Self {
            vitrum_lab: FORMAT,
            run,
            warnings: Vec::new(),
            measures: Vec::new(),
            calibration: None,
            attacks: None,
            cascade: None,
            corruptions: None,
            inversion: None,
            nullspace: None,
            audit: None,
        }
    }

    /// Writes it as JSON; `path` keeps its old content if that fails.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::new(path.display().to_string(), format!("can't be written as JSON: {error}")))?;
        engine::fs::write_atomic(path, |file| writeln!(file, "{text}"))
    }
}

impl AuditReport {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// JSON has no number that is not finite.
pub(crate) fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests;
