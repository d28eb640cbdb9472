//! `vitrum train`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Device, Error, Result};
use serde::Serialize;
use vitrum_train::checkpoint::{self, Source, run_file};
use vitrum_train::data::{self, Dataset};
use vitrum_train::eval::accuracy::Evaluator;
use vitrum_train::report::jsonl::Log;
use vitrum_train::trainer::{StepReport, Trainer};

use super::common::Common;
use super::progress::Progress;
use super::recipe::RecipeArgs;
use super::screen;
use super::start_args::StartArgs;

/// Train or finetune a Vision Transformer
///
/// Plain, adversarial (PGD with ARD and PRM) or nullspace training; with --stochastic the MLPs get random token-consistent
/// layers. Writes checkpoints, a log of JSON lines, and at the end model.safetensors under timm's names.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// `synthetic`, or a folder: CIFAR-10/100 binary, MNIST idx, images
    #[arg(long, value_name = "SPEC", default_value = "synthetic")]
    data: String,
    /// Folder of the run
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Continue the run in --out as if it had never stopped
    #[arg(long)]
    resume: bool,
    /// Train on at most so many images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Measure clean accuracy on at most so many test images after each epoch; 0 for never
    #[arg(long, value_name = "N", default_value_t = 1000)]
    eval_limit: usize,
    /// Steps between two checkpoints; there is one after each epoch anyhow
    #[arg(long, value_name = "N")]
    checkpoint_every: Option<usize>,
    #[command(flatten)]
    model: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum train --data cifar-10-batches-bin --out runs/clean --patch 4 --width 192 --depth 6 --heads 3 --flip --crop-pad 4
  vitrum train --data cifar-10-batches-bin --out runs/robust --weights runs/clean/model.safetensors \\
      --method adversarial --optimizer sgd --lr 0.05 --schedule steps --epochs 10
  vitrum train --data cifar-10-batches-bin --out runs/robust --resume";

/// One line of the log.
#[derive(Serialize)]
struct Record {
    epoch: u32,
    step: usize,
    loss: f64,
    norm: f64,
    lr: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    synthesis: Option<vitrum_train::nullspace::approximate::Synthesis>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let device = common.device()?;
        let source = if self.resume {
            checkpoint::read_run(&self.out)?.data
        } else {
            Source { spec: self.data.clone(), limit: self.limit, seed: common.seed }
        };
        let options = data::Options { limit: source.limit, seed: source.seed, ..data::Options::default() };
        let (train_data, test_data) = data::open_pair(&source.spec, &options)?;
        let train_data = Arc::new(train_data);
        let test_data = Arc::new(test_data.subset(0..self.eval_limit.min(test_data.len()))?);
        let mut trainer = if self.resume {
            Trainer::resume(&device, &self.out, train_data)?
        } else {
            self.refuse_overwriting()?;
            let recipe = self.recipe.recipe(common.seed)?;
            let (config, tensors) = self.model.start(&train_data, common.seed)?;
            Trainer::new(&device, &config, &tensors, train_data, recipe)?
        };
        std::fs::create_dir_all(&self.out).map_err(|error| Error::io(&self.out, "create", &error))?;
        engine::fs::check_writable(run_file(&self.out))?;
        let metrics = self.out.join("metrics.jsonl");
        if self.resume {
            let position = trainer.position();
            rewind(&metrics, |record| is_before(record, position))?;
        }
        let mut log = Log::append(&metrics)?;
        self.train(&mut trainer, &source, &test_data, &device, &mut log)?;
        let path = self.out.join("model.safetensors");
        models::save(&path, trainer.config(), &trainer.weights()?)?;
        let accuracy = self.accuracy(&trainer, &test_data, &device)?;
        let screen = common.screen();
        screen.line(format_args!("model: {}", path.display()))?;
        screen.json(&serde_json::json!({ "model": path, "epochs": trainer.recipe().epochs, "accuracy": accuracy }))
    }

    fn refuse_overwriting(&self) -> Result<()> {
        let file = run_file(&self.out);
        if file.exists() {
            return Err(Error::new(file.display().to_string(), "there is a run in this folder already")
                .help("continue it with --resume, or give another --out"));
        }
        Ok(())
    }

    fn train(
        &self,
        trainer: &mut Trainer,
        data: &Source,
        test: &Arc<Dataset>,
        device: &Device,
        log: &mut Log,
    ) -> Result<()> {
        let mut progress = Progress::new("img");
        while !trainer.is_done() {
            let epoch = trainer.position().0;
            let of = trainer.recipe().epochs;
            let batch = trainer.recipe().batch;
            let mut last = None;
            trainer.run_epoch(&mut |trainer, step: &StepReport| {
                let (title, remark) = (format!("epoch {}/{of}", epoch + 1), format!("loss {:.3}", step.loss));
                progress.show(&title, (step.step + 1) * batch, step.steps * batch, &remark);
                let ends = step.step + 1 == step.steps;
                if !ends {
                    log.write(&record(step, None))?;
                    if self.checkpoint_every.is_some_and(|every| (step.step + 1).is_multiple_of(every.max(1))) {
                        trainer.save(&self.out, data)?;
                    }
                }
                last = Some(*step);
                Ok(true)
            })?;
            let accuracy = self.accuracy(trainer, test, device)?;
            if let Some(step) = last {
                log.write(&record(&step, accuracy))?;
                let accuracy = accuracy.map_or(String::new(), |value| format!(", accuracy {:.1}%", 100.0 * value));
                progress.finish();
                screen::note(format_args!("epoch {}/{of}: loss {:.4}{accuracy}", epoch + 1, step.loss));
            }
            trainer.save(&self.out, data)?;
        }
        Ok(())
    }

    fn accuracy(&self, trainer: &Trainer, test: &Arc<Dataset>, device: &Device) -> Result<Option<f64>> {
        if self.eval_limit == 0 {
            return Ok(None);
        }
        let batch = trainer.recipe().batch;
        let mut evaluator = Evaluator::new(device, trainer.config(), &trainer.weights()?, batch, 1, 0)?;
        Ok(Some(evaluator.clean(test)?.accuracy))
    }
}

/// Drops the records that `kept` does not keep: those of what a resumed run does again.
pub fn rewind(path: &Path, kept: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    let mut lines = String::new();
    for line in text.lines() {
        if serde_json::from_str(line).is_ok_and(|record| kept(&record)) {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    engine::fs::write_atomic(path, |file| std::io::Write::write_all(file, lines.as_bytes()))
}

/// Whether a record is of a step before `position`.
fn is_before(record: &serde_json::Value, position: (u32, usize)) -> bool {
    let number = |key: &str| record.get(key).and_then(serde_json::Value::as_u64);
    let (Some(epoch), Some(step)) = (number("epoch"), number("step")) else { return false };
    (epoch, step) < (u64::from(position.0), u64::try_from(position.1).unwrap_or(u64::MAX))
}

fn record(step: &StepReport, accuracy: Option<f64>) -> Record {
    let StepReport { epoch, step: number, loss, norm, lr, synthesis, .. } = *step;
    Record { epoch, step: number, loss, norm, lr, accuracy, synthesis }
}
