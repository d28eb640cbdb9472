//! `vitrum eval`

use std::path::PathBuf;
use std::sync::Arc;

use engine::{Error, Result};
use train::attack::AttackConfig;
use train::data::{Dataset, Published};
use train::eval::accuracy::{AttackReport, CorruptionReport, Evaluator};
use train::eval::calibration::Calibration;
use train::eval::corruption::{Corruption, SMALL_SIDE};
use train::eval::mce::{Baseline, Summary};

use super::args::{DataArgs, ModelArgs, positive};
use super::attack_args::{AttackArgs, AttackName, describe};
use super::common::Common;
use super::corruption_args::CorruptionArgs;
use super::progress::Progress;

/// Measure a model: accuracy and calibration, clean, attacked and corrupted
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Draws of a stochastic model whose softmax is averaged; 0 for the mean network
    #[arg(long, value_name = "N", default_value_t = 1)]
    draws: u32,
    /// Attack the images too; may be given several times
    #[arg(long = "attack", value_enum, value_name = "NAME")]
    attacks: Vec<AttackName>,
    #[command(flatten)]
    attack: AttackArgs,
    #[command(flatten)]
    corruptions: CorruptionArgs,
    /// Take corrupted images from published files instead: the folder of CIFAR-10-C or CIFAR-100-C (.npy), or of ImageNet-C
    #[arg(long, value_name = "DIR", help_heading = "Corruptions", conflicts_with_all = ["frost", "no_final_jpeg"])]
    corruption_data: Option<PathBuf>,
    /// What corruption errors (CE, mCE) are relative to: alexnet, or a JSON file; see docs/commands.md [default: alexnet for the
    /// standard corruptions of images above 64 pixels in 1000 classes, else none]
    #[arg(long, value_name = "FILE", help_heading = "Corruptions")]
    baseline: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum eval --weights runs/robust/model.safetensors --data cifar-10-batches-bin --limit 1000 \\
      --attack fgsm --attack pgd --eps 8/255 --steps 20
  vitrum eval --weights vit_tiny.safetensors --data imagenet --corruptions standard --frost create_c
  vitrum eval --weights runs/robust/model.safetensors --data cifar-10-batches-bin --corruption-data CIFAR-10-C";

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let attacks: Vec<AttackConfig> =
            self.attacks.iter().map(|&name| self.attack.config(name)).collect::<Result<_>>()?;
        let selected = self.selected()?;
        let loaded = self.model.load()?;
        let data = Arc::new(self.data.open(&loaded.config, common.seed)?);
        let mut evaluator = Evaluator::new(
            &common.device()?,
            &loaded.config,
            &loaded.tensors,
            self.batch.min(data.len()),
            self.draws,
            common.seed,
        )?;
        let screen = common.screen();
        let clean = evaluator.clean(&data)?;
        screen.line(summary(&clean))?;
        let mut progress = Progress::new("img");
        let mut reports: Vec<AttackReport> = Vec::new();
        for config in &attacks {
            let mut done = 0;
            let report = evaluator.attacked(&data, config, &mut |attacked| {
                done += attacked.samples.count;
                progress.show(&config.name(), done, data.len(), "");
                Ok(())
            })?;
            progress.finish();
            screen.line(describe(&report))?;
            reports.push(report);
        }
        let (corrupted, summary) = match &selected {
            Some(selected) => {
                let reports = selected.measure(self, &mut evaluator, &data, common)?;
                let summary = Summary::of(&reports, 1.0 - clean.accuracy, selected.baseline(&data).as_ref())?;
                screen.table(&table(&reports, &summary))?;
                screen.line(describe_summary(&summary))?;
                (reports, Some(summary))
            }
            None => (Vec::new(), None),
        };
        screen.json(&serde_json::json!({ "clean": clean, "attacks": reports, "corruptions": corrupted, "corruption_summary": summary }))
    }
}

/// What is to be measured of corruptions, checked before the work starts.
struct Selected {
    corruptions: Vec<Corruption>,
    severities: Vec<u8>,
    baseline: Option<Baseline>,
    published: Option<Published>,
}

impl Args {
    fn selected(&self) -> Result<Option<Selected>> {
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
        let selected = Selected { corruptions, severities, baseline, published };
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

    fn measure(
        &self,
        args: &Args,
        evaluator: &mut Evaluator,
        data: &Arc<Dataset>,
        common: &Common,
    ) -> Result<Vec<CorruptionReport>> {
        let Some(published) = &self.published else {
            let options = args.corruptions.options(&self.corruptions, common.seed)?;
            return evaluator.corrupted(data, &self.corruptions, &self.severities, &options);
        };
        let mut reports = Vec::new();
        for &corruption in &self.corruptions {
            for &severity in &self.severities {
                let images = published.dataset(corruption.name(), severity, data, args.data.how.interpolation())?;
                let accuracy = evaluator.clean(&Arc::new(images))?.accuracy;
                reports.push(CorruptionReport {
                    name: corruption.name().to_owned(),
                    severity,
                    accuracy,
                    comparable: true,
                });
            }
        }
        Ok(reports)
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

fn summary(clean: &Calibration) -> String {
    format!(
        "clean: {} of {} correct ({:.2}%), NLL {:.4}, Brier {:.4}, ECE-15 {:.4}, ECE-10 {:.4}, MCE-15 {:.4}, adaptive ECE-15 {:.4}",
        clean.correct,
        clean.total,
        100.0 * clean.accuracy,
        clean.nll,
        clean.brier,
        clean.ece15,
        clean.ece10,
        clean.mce15,
        clean.adaptive_ece15
    )
}
