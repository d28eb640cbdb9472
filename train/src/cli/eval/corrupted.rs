//! Corrupted images, made here or read from published files.

use std::path::PathBuf;
use std::sync::Arc;

use engine::{Error, Result};
use train::data::{Dataset, Interpolation, Published};
use train::eval::accuracy::{CorruptionReport, Evaluator};
use train::eval::corruption::{Corruption, Options, SMALL_SIDE};
use train::eval::mce::{Baseline, Summary};

use super::super::corruption_args::CorruptionArgs;
use super::super::screen::Screen;

#[derive(clap::Args)]
pub struct CorruptedArgs {
    #[command(flatten)]
    corruptions: CorruptionArgs,
    /// Take corrupted images from published files instead: the folder of CIFAR-10-C or CIFAR-100-C (.npy), or of ImageNet-C
    #[arg(long, value_name = "DIR", help_heading = "Corruptions", conflicts_with_all = ["frost", "no_final_jpeg"])]
    corruption_data: Option<PathBuf>,
    /// What corruption errors (CE, mCE) are relative to: alexnet, or a JSON file; see docs/commands.md [default: alexnet for the
    /// standard corruptions of images above 64 pixels in 1000 classes, else none]
    #[arg(long, value_name = "FILE", help_heading = "Corruptions")]
    baseline: Option<PathBuf>,
}

/// What is to be measured of corruptions, checked before the work starts.
pub struct Selected {
    corruptions: Vec<Corruption>,
    severities: Vec<u8>,
    baseline: Option<Baseline>,
    images: Images,
}

enum Images {
    Published(Published),
    Computed(Options),
}

/// What corrupted images came to.
pub struct Corrupted {
    pub reports: Vec<CorruptionReport>,
    pub summary: Summary,
}

impl CorruptedArgs {
    /// The flags' meaning; `None` where no corruption is asked for.
    pub fn selected(&self, seed: u64) -> Result<Option<Selected>> {
        let published = self.corruption_data.as_deref().map(Published::open).transpose()?;
        let baseline = match &self.baseline {
            Some(path) if path.as_os_str() == "alexnet" => Some(Baseline::alexnet()),
            Some(path) => Some(Baseline::read(path)?),
            None => None,
        };
        if self.corruptions.is_empty() && published.is_none() {
            return match baseline {
                None => Ok(None),
                Some(_) => {
                    Err(Error::new("--baseline", "no corruption is measured").help("add --corruptions standard"))
                }
            };
        }
        let (corruptions, severities) = (self.corruptions.named("standard")?, self.corruptions.levels()?);
        let images = match published {
            Some(published) => Images::Published(published),
            None => Images::Computed(self.corruptions.options(&corruptions, seed)?),
        };
        let selected = Selected { corruptions, severities, baseline, images };
        if selected.baseline.is_some() && !selected.is_complete() {
            return Err(Error::new(
                "--baseline",
                "corruption errors take all 15 standard corruptions at all five severities",
            )
            .help("--corruptions standard --severities 1-5"));
        }
        Ok(Some(selected))
    }
}

impl Selected {
    /// Whether mCE is defined.
    fn is_complete(&self) -> bool {
        self.severities.len() == 5
            && Corruption::STANDARD.iter().all(|corruption| self.corruptions.contains(corruption))
    }

    /// The baseline that was asked for, or AlexNet where its figures apply.
    fn baseline(&self, data: &Dataset) -> Option<Baseline> {
        let [_, height, width] = data.dims();
        let imagenet = height.max(width) > SMALL_SIDE && data.classes().len() == 1000;
        self.baseline.clone().or_else(|| (imagenet && self.is_complete()).then(Baseline::alexnet))
    }

    /// Measures everything for a model whose accuracy on clean images is `clean`; published images are resized by `interpolation`.
    pub fn measure(
        &self,
        evaluator: &mut Evaluator,
        data: &Arc<Dataset>,
        clean: f64,
        interpolation: Interpolation,
    ) -> Result<Corrupted> {
        let reports = match &self.images {
            Images::Published(published) => self.read(published, evaluator, data, interpolation)?,
            Images::Computed(options) => evaluator.corrupted(data, &self.corruptions, &self.severities, options)?,
        };
        let summary = Summary::of(&reports, 1.0 - clean, self.baseline(data).as_ref())?;
        Ok(Corrupted { reports, summary })
    }

    fn read(
        &self,
        published: &Published,
        evaluator: &mut Evaluator,
        data: &Arc<Dataset>,
        interpolation: Interpolation,
    ) -> Result<Vec<CorruptionReport>> {
        let mut reports = Vec::new();
        for &corruption in &self.corruptions {
            for &severity in &self.severities {
                let images = published.dataset(corruption.name(), severity, data, interpolation)?;
                let accuracy = evaluator.outputs(&Arc::new(images))?.scores()?.accuracy();
                let name = corruption.name().to_owned();
                reports.push(CorruptionReport { name, severity, accuracy, comparable: true });
            }
        }
        Ok(reports)
    }
}

impl Corrupted {
    /// For people.
    pub fn show(&self, screen: &Screen) -> Result<()> {
        screen.table(&table(&self.reports, &self.summary))?;
        screen.line(describe_summary(&self.summary))
    }
}

/// One row per corruption: accuracy at each severity, their mean, and CE.
fn table(reports: &[CorruptionReport], summary: &Summary) -> Vec<Vec<String>> {
    let mut severities: Vec<u8> = reports.iter().map(|report| report.severity).collect();
    severities.sort_unstable();
    severities.dedup();
    let percent = |share: f64| format!("{:.2}%", 100.0 * share);
    let ce = summary.comparison.as_ref().map(|comparison| &comparison.ce);
    let mut heading = vec!["corruption".to_owned()];
    heading.extend(severities.iter().map(|severity| format!("severity {severity}")));
    heading.push("mean".to_owned());
    heading.extend(ce.map(|_| "CE".to_owned()));
    let mut rows = vec![heading];
    for (name, error) in &summary.errors {
        let own: Vec<&CorruptionReport> = reports.iter().filter(|report| report.name == *name).collect();
        let procedural = own.iter().any(|report| !report.comparable);
        let mut row = vec![if procedural { format!("{name} (procedural: not comparable)") } else { name.clone() }];
        row.extend(severities.iter().map(|&severity| {
            own.iter().find(|report| report.severity == severity).map_or_else(String::new, |r| percent(r.accuracy))
        }));
        row.push(percent(1.0 - error));
        row.extend(
            ce.map(|ce| ce.iter().find(|(other, _)| other == name).map_or_else(String::new, |(_, ce)| percent(*ce))),
        );
        rows.push(row);
    }
    rows
}

fn describe_summary(summary: &Summary) -> String {
    let mark = if summary.comparable { "" } else { " (with procedural frost: not comparable)" };
    let mut text = format!(
        "corrupted: mean accuracy {:.2}%, mean error {:.2}%{mark}",
        100.0 * summary.mean_accuracy,
        100.0 * summary.mean_error
    );
    if let Some(found) = &summary.comparison {
        text += &format!("\nmCE {:.2}% of {}", 100.0 * found.mce, found.baseline);
        if let Some(relative) = found.relative_mce {
            text += &format!(", relative mCE {:.2}%", 100.0 * relative);
        }
        text += mark;
    }
    text
}
