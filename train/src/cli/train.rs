//! `vitrum train`

use std::path::PathBuf;
use std::sync::Arc;

use engine::{Device, Error, Result, Tensor};
use models::{LoadOptions, VitConfig, adapt, init, registry};
use vitrum_train::checkpoint::{self, Source, run_file};
use vitrum_train::data::{self, Dataset};
use vitrum_train::eval::accuracy::Evaluator;
use vitrum_train::trainer::{StepReport, Trainer};

use super::common::Common;
use super::journal::{self, Journal};
use super::progress::Progress;
use super::recipe::RecipeArgs;
use super::screen;

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
    model: ModelArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum train --data cifar-10-batches-bin --out runs/clean --patch 4 --width 192 --depth 6 --heads 3 --flip --crop-pad 4
  vitrum train --data cifar-10-batches-bin --out runs/robust --weights runs/clean/model.safetensors \\
      --method adversarial --optimizer sgd --lr 0.05 --schedule steps --epochs 10
  vitrum train --data cifar-10-batches-bin --out runs/robust --resume";

#[derive(clap::Args)]
#[command(next_help_heading = "Model")]
struct ModelArgs {
    /// Start from these weights; without them the model is initialised afresh
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// timm's name of the architecture
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Give the model a fresh head where the data have another number of classes
    #[arg(long)]
    new_head: bool,
    /// Patch side in pixels
    #[arg(long, value_name = "PIXELS")]
    patch: Option<usize>,
    /// Width of a token (fresh models) [default: 192]
    #[arg(long, value_name = "N")]
    width: Option<usize>,
    /// Blocks (fresh models) [default: 6]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Attention heads [default: width / 64]
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// Hidden width of the MLPs (fresh models) [default: 4 x width]
    #[arg(long, value_name = "N")]
    mlp_width: Option<usize>,
    /// Activation of the MLPs: gelu or relu
    #[arg(long, value_name = "NAME")]
    activation: Option<models::Activation>,
    /// Normalisation: imagenet, half, none or MEANS/STDS
    #[arg(long, value_name = "SPEC")]
    normalize: Option<String>,
    /// Rate of stochastic depth at the last block
    #[arg(long, value_name = "RATE")]
    drop_path: Option<f32>,
    /// Random token-consistent layer in every MLP: a01, a05, a10 (uniform), n05 (normal), b05 (Bernoulli)
    #[arg(long, value_name = "NAME")]
    stochastic: Option<models::Stochastic>,
}

impl ModelArgs {
    /// Configuration and starting weights for images like `data`'s.
    fn start(&self, data: &Dataset, seed: u64) -> Result<(VitConfig, Vec<(String, Tensor)>)> {
        let [channels, height, width] = data.dims();
        let (mut config, tensors) = match &self.weights {
            Some(path) => {
                let options = LoadOptions {
                    model: self.model.clone(),
                    heads: self.heads,
                    activation: self.activation,
                    normalise: self.normalize.clone(),
                    ..LoadOptions::default()
                };
                let mut loaded = models::load(path, &options)?;
                for assumption in &loaded.assumed {
                    screen::note(format_args!("assumed: {assumption}"));
                }
                if self.new_head && loaded.config.classes != data.classes().len() {
                    loaded = adapt::adapt_head(loaded, data.classes().len(), seed)?;
                }
                let patch = self.patch.unwrap_or(loaded.config.patch);
                let target = VitConfig { image: [height, width], channels, patch, ..loaded.config.clone() };
                let loaded = adapt::adapt(loaded, &target)?;
                (loaded.config, Some(loaded.tensors))
            }
            None => (self.fresh(data)?, None),
        };
        config.drop_path = self.drop_path.unwrap_or(config.drop_path);
        config.stochastic = self.stochastic.or(config.stochastic);
        config.validate()?;
        let tensors = match tensors {
            Some(tensors) => tensors,
            None => init::init(&config, seed)?,
        };
        Ok((config, tensors))
    }

    fn fresh(&self, data: &Dataset) -> Result<VitConfig> {
        let [channels, height, width] = data.dims();
        let mut config = registry::lookup(self.model.as_deref().unwrap_or("vit_tiny_patch16_224"))?;
        if self.model.is_none() {
            config.depth = 6;
            config.patch = 4;
        }
        config.patch = self.patch.unwrap_or(config.patch);
        config.depth = self.depth.unwrap_or(config.depth);
        if self.width.is_some() || self.heads.is_some() {
            config.width = self.width.unwrap_or(config.width);
            config.heads = self.heads.unwrap_or((config.width / 64).max(1));
            config.head_width = config.width / config.heads.max(1);
            config.mlp_width = 4 * config.width;
        }
        config.mlp_width = self.mlp_width.unwrap_or(config.mlp_width);
        config.activation = self.activation.unwrap_or(config.activation);
        (config.image, config.channels, config.classes) = ([height, width], channels, data.classes().len());
        config.normalisation = models::Normalisation::parse(self.normalize.as_deref().unwrap_or("half"), channels)?;
        Ok(config)
    }
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
