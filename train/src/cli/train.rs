//! `vitrum train`

use std::path::PathBuf;
use std::sync::Arc;

use engine::{Device, Error, Result};
use vitrum_train::checkpoint::{self, Source, run_file};
use vitrum_train::data::{self, Dataset};
use vitrum_train::eval::accuracy::Evaluator;
use vitrum_train::trainer::{StepReport, Trainer};

use super::common::Common;
use super::journal::{self, Journal};
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
    /// Folder for TensorBoard event files: loss, gradient norm, learning rate, accuracy
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
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
            Trainer::resume(&device, &self.out, Arc::clone(&train_data))?
        } else {
            self.refuse_overwriting()?;
            let recipe = self.recipe.recipe(common.seed)?;
            let (config, tensors) = self.model.start(&train_data, common.seed)?;
            Trainer::new(&device, &config, &tensors, Arc::clone(&train_data), recipe)?
        };
        std::fs::create_dir_all(&self.out).map_err(|error| Error::io(&self.out, "create", &error))?;
        engine::fs::check_writable(run_file(&self.out))?;
        let mut journal = Journal::open(&self.out, self.tensorboard.as_deref(), &trainer, self.resume)?;
        self.train(&mut trainer, &source, &test_data, &device, &mut journal)?;
        let path = self.out.join("model.safetensors");
        models::save(&path, trainer.config(), &trainer.weights()?)?;
        let accuracy = self.accuracy(&trainer, &test_data, &device)?;
        let run = journal::provenance(common, &device, &trainer, &source, [&train_data, &test_data])?;
        journal.finish(&self.out, run, accuracy)?;
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
        journal: &mut Journal,
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
                    journal.step(step, None)?;
                    if self.checkpoint_every.is_some_and(|every| (step.step + 1).is_multiple_of(every.max(1))) {
                        trainer.save(&self.out, data)?;
                    }
                }
                last = Some(*step);
                Ok(true)
            })?;
            let accuracy = self.accuracy(trainer, test, device)?;
            if let Some(step) = last {
                journal.step(&step, accuracy)?;
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
