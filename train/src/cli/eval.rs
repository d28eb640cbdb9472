//! `vitrum eval`

use std::sync::Arc;

use engine::Result;
use train::attack::AttackConfig;
use train::eval::accuracy::{AttackReport, Evaluator};
use train::eval::calibration::Calibration;
use train::eval::corruption::Corruption;

use super::args::{DataArgs, ModelArgs, positive};
use super::attack_args::{AttackArgs, AttackName, describe};
use super::common::Common;
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
    /// Corrupt the images too: noise, blur, brightness, contrast, pixelate, at these severities (1 to 5)
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=5))]
    corruptions: Vec<u8>,
    #[command(flatten)]
    attack: AttackArgs,
    #[command(flatten)]
    model: ModelArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum eval --weights runs/robust/model.safetensors --data cifar-10-batches-bin --limit 1000 \\
      --attack fgsm --attack pgd --eps 8/255 --steps 20";

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let attacks: Vec<AttackConfig> =
            self.attacks.iter().map(|&name| self.attack.config(name)).collect::<Result<_>>()?;
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
        let corrupted = match self.corruptions.as_slice() {
            [] => Vec::new(),
            severities => evaluator.corrupted(&data, &Corruption::ALL, severities)?,
        };
        for report in &corrupted {
            let percent = 100.0 * report.accuracy;
            screen.line(format_args!("{}, severity {}: {percent:.2}%", report.name, report.severity))?;
        }
        screen.json(&serde_json::json!({ "clean": clean, "attacks": reports, "corruptions": corrupted }))
    }
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
