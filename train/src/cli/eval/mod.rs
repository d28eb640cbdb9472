//! `vitrum eval`

mod attacks;
mod clean;
mod corrupted;
mod results;

use std::sync::Arc;

use engine::Result;
use train::eval::accuracy::Evaluator;

use super::args::{DataArgs, ModelArgs, positive};
use super::attack_args::{AttackArgs, AttackName};
use super::class_args::ClassArgs;
use super::common::Common;
use super::record::{RecordArgs, provenance};
use super::screen;
use attacks::Attacks;
use clean::CleanArgs;
use corrupted::CorruptedArgs;

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
    #[command(flatten)]
    clean: CleanArgs,
    /// Attack the images too; may be given several times
    #[arg(long = "attack", value_enum, value_name = "NAME")]
    attacks: Vec<AttackName>,
    #[command(flatten)]
    attack: AttackArgs,
    #[command(flatten)]
    corrupted: CorruptedArgs,
    #[command(flatten)]
    classes: ClassArgs,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    model: ModelArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum eval --weights runs/robust/model.safetensors --data cifar-10-batches-bin --limit 1000 \\
      --attack fgsm --attack pgd --eps 8/255 --steps 20 --temperature 0.2 --out runs/robust/eval
  vitrum eval --weights vit.safetensors --data imagenet-a --class-order imagenet/val
  vitrum eval --weights vit_tiny.safetensors --data imagenet --corruptions standard --frost create_c
  vitrum eval --weights runs/robust/model.safetensors --data cifar-10-batches-bin --corruption-data CIFAR-10-C";

/// Name of the result file, without its ending.
const NAME: &str = "eval";

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let attacks = Attacks::new(&self.attacks, &self.attack)?;
        let corruptions = self.corrupted.selected(common.seed)?;
        self.record.prepare(NAME)?;
        let loaded = self.model.load()?;
        let (data, mask) = self.classes.open(&self.data, &loaded.config, common.seed)?;
        let data = Arc::new(data);
        let device = common.device()?;
        let batch = self.batch.min(data.len());
        let (config, tensors) = (&loaded.config, &loaded.tensors);
        let mut evaluator = Evaluator::new(&device, config, tensors, batch, self.draws, common.seed)?;
        if let Some(mask) = mask {
            evaluator.restrict(mask);
        }
        let screen = common.screen();
        let clean = self.clean.measure(&mut evaluator, &data, common.seed, &screen)?;
        let attacked = attacks.measure(&mut evaluator, &data, &screen)?;
        let interpolation = self.data.how.interpolation();
        let corrupted = match &corruptions {
            Some(selected) => {
                let found = selected.measure(&mut evaluator, &data, clean.figures.accuracy, interpolation)?;
                found.show(&screen)?;
                Some(found)
            }
            None => None,
        };
        for warning in evaluator.warnings() {
            screen::note(format_args!("warning: {warning}"));
        }
        let run = provenance(common, &device, &self.model.name(), &loaded, &data)?;
        let mut report = results::report(run, &clean, &attacked, corrupted.as_ref());
        report.warnings = evaluator.warnings().to_vec();
        self.record.write(&report, NAME)?;
        let (corruptions, summary) = corrupted.as_ref().map(|found| (&found.reports, &found.summary)).unzip();
        screen.json(&serde_json::json!({
            "clean": clean.figures, "over_seeds": clean.over_seeds, "per_class": clean.per_class, "calibration": clean.calibration,
            "attacks": attacked.in_balls, "patch_attacks": attacked.on_patches, "corruptions": corruptions.map_or(&[][..], Vec::as_slice), "corruption_summary": summary,
            "warnings": report.warnings, "data": report.run.data, "weights": report.run.weights,
        }))
    }
}
