//! `vitrum eval`

use std::fmt;
use std::sync::Arc;

use engine::{Error, Result};
use serde::Serialize;
use train::attack::AttackConfig;
use train::data::Dataset;
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
    /// Repeat the clean measurement under so many seeds of the draws: mean and standard deviation
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    draw_seeds: usize,
    /// Accuracy of each class too, and the mean over classes
    #[arg(long)]
    per_class: bool,
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
        let repeated = self.repeated(&mut evaluator, &data, &clean, common.seed)?;
        if let Some([accuracy, nll, ece]) = &repeated {
            screen
                .line(format_args!("over {} seeds: accuracy {accuracy}, NLL {nll}, ECE-15 {ece}", self.draw_seeds))?;
        }
        let classes = if self.per_class { Some(PerClass::of(&evaluator.per_class(&data)?, &data)) } else { None };
        if let Some(classes) = &classes {
            screen.line(format_args!("mean over {} classes: {:.2}%", classes.classes.len(), 100.0 * classes.mean))?;
        }
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
        screen.json(&serde_json::json!({
            "clean": clean,
            "over_seeds": repeated.map(|[accuracy, nll, ece15]| OverSeeds { accuracy, nll, ece15 }),
            "per_class": classes,
            "attacks": reports,
            "corruptions": corrupted,
        }))
    }

    /// Accuracy, NLL and ECE over the seeds of the draws, where several are asked for.
    fn repeated(
        &self,
        evaluator: &mut Evaluator,
        data: &Arc<Dataset>,
        first: &Calibration,
        seed: u64,
    ) -> Result<Option<[Spread; 3]>> {
        if self.draw_seeds == 1 {
            return Ok(None);
        }
        if evaluator.config().stochastic.is_none() || self.draws == 0 {
            return Err(Error::new("--draw-seeds", "this model draws nothing: every seed gives the same")
                .help("leave it out, or give a model with stochastic layers and --draws 1 or more"));
        }
        let figures = |found: &Calibration| [found.accuracy, found.nll, found.ece15];
        let mut all = vec![figures(first)];
        for number in 1..self.draw_seeds {
            evaluator.reseed(seed.wrapping_add(u64::try_from(number).unwrap_or(0)));
            all.push(figures(&evaluator.clean(data)?));
        }
        evaluator.reseed(seed);
        let column = |at: usize| Spread::of(&all.iter().filter_map(|row| row.get(at).copied()).collect::<Vec<_>>());
        Ok(Some([column(0), column(1), column(2)]))
    }
}

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

#[derive(Serialize)]
struct OverSeeds {
    accuracy: Spread,
    nll: Spread,
    ece15: Spread,
}

#[derive(Serialize)]
struct Class {
    name: String,
    correct: usize,
    total: usize,
}

#[derive(Serialize)]
struct PerClass {
    /// Mean accuracy over the classes that have samples, a fraction.
    mean: f64,
    classes: Vec<Class>,
}

impl PerClass {
    fn of(counts: &[(usize, usize)], data: &Dataset) -> Self {
        let named = counts.iter().zip(data.classes());
        let classes: Vec<Class> =
            named.map(|(&(correct, total), name)| Class { name: name.clone(), correct, total }).collect();
        #[expect(clippy::cast_precision_loss, reason = "sample counts")]
        let shares: Vec<f64> = counts
            .iter()
            .filter(|&&(_, total)| total > 0)
            .map(|&(correct, total)| correct as f64 / total as f64)
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a number of classes")]
        let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        Self { mean, classes }
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
