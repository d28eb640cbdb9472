//! The training loop: batches in, one plan replay per step (after the attack's, where there is one), checkpoints out.

use std::sync::Arc;

use engine::{DType, Device, Error, Plan, Result, Store, Tape, Tensor, Value};
use models::{Vit, VitConfig};

use crate::attack::Attack;
use crate::data::loader::Samples;
use crate::data::{Dataset, Loader};
use crate::inputs::Inputs;
use crate::losses;
use crate::nullspace::approximate::{Synthesis, Synthesiser};
use crate::optim;
use crate::recipe::{Freeze, Method, Recipe};

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Step within the epoch, from 0.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Mean loss of the batch before the update.
    pub loss: f64,
    /// Global norm of the gradient before clipping.
    pub norm: f64,
    /// Learning rate.
    pub lr: f64,
    /// Samples in the batch.
    pub samples: usize,
    /// Noise made at the start of this epoch (nullspace finetuning, first step of an epoch).
    pub synthesis: Option<Synthesis>,
}

/// A model in training.
pub struct Trainer {
    pub(crate) store: Store,
    pub(crate) model: Vit,
    pub(crate) state: optim::State,
    pub(crate) recipe: Recipe,
    /// Epoch and step to be done next.
    pub(crate) epoch: u32,
    pub(crate) step: usize,
    pub(crate) synthesiser: Option<Synthesiser>,
    inputs: Inputs,
    loader: Loader,
    plan: Plan,
    loss: Value,
    norm: Value,
    attack: Option<Attack>,
}

impl Trainer {
    /// Plans the training of a model of `config` that starts from `tensors` (timm's names), on `data`.
    ///
    /// # Errors
    /// Recipe, configuration, tensors or data do not fit one another, or out of memory.
    pub fn new(
        device: &Device,
        config: &VitConfig,
        tensors: &[(String, Tensor)],
        data: Arc<Dataset>,
        recipe: Recipe,
    ) -> Result<Self> {
        recipe.validate()?;
        check_data(config, &data)?;
        let mut store = Store::new(device.clone())?;
        let model = match recipe.freeze {
            Freeze::None => Vit::new(&mut store, "params", config.clone(), tensors, DType::F32)?,
            Freeze::Backbone => Vit::with_frozen_backbone(&mut store, "params", config.clone(), tensors, DType::F32)?,
        };
        let inputs = Inputs::new(&mut store, config, recipe.batch)?;
        let state = optim::State::new(&mut store, model.params(), recipe.optimizer, recipe.ema)?;
        let loader =
            Loader::train(data, recipe.batch, recipe.seed, recipe.augment)?.for_model(&config.normalisation)?;
        let attack = match &recipe.method {
            Method::Adversarial(adversarial) => Some(Attack::new(&mut store, &model, &inputs, &adversarial.attack)?),
            Method::Plain | Method::Nullspace(_) => None,
        };
        let synthesiser = match &recipe.method {
            Method::Nullspace(nullspace) => Some(Synthesiser::new(&mut store, &model, &inputs, nullspace)?),
            Method::Plain | Method::Adversarial(_) => None,
        };
        let mut tape = Tape::new();
        let noise = synthesiser.as_ref().map(|made| made.record(&mut tape, &store, &model)).transpose()?;
        let loss = losses::record(&mut tape, &store, &model, &inputs, &recipe.method, noise)?;
        let gradients = tape.backward(loss, None, &[], &[(&store, model.params())])?;
        let flat = *gradients.groups.first().ok_or_else(|| Error::new("trainer", "no gradient"))?;
        let norm = state.record(&mut tape, &store, flat, recipe.clip)?;
        let plan = tape.plan(&mut store, &[loss, norm])?;
        Ok(Self {
            store,
            model,
            state,
            recipe,
            epoch: 0,
            step: 0,
            synthesiser,
            inputs,
            loader,
            plan,
            loss,
            norm,
            attack,
        })
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.recipe.steps_per_epoch.map_or(self.loader.steps(), |most| most.min(self.loader.steps()))
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.epoch >= self.recipe.epochs
    }

    /// Epoch and step to be done next.
    pub fn position(&self) -> (u32, usize) {
        (self.epoch, self.step)
    }

    /// What is being done.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The model's configuration.
    pub fn config(&self) -> &VitConfig {
        self.model.config()
    }

    /// Measures every launch of a training step on the batch that lies in the inputs.
    ///
    /// # Errors
    /// The device failed.
    pub fn profile(&mut self) -> Result<engine::Profile> {
        self.plan.profile(&mut self.store)
    }

    /// Time that the host spends on one replay of the training step where the device replays recordings, its own work excluded;
    /// `None` where the host computes. Changes the weights as a step does.
    ///
    /// # Errors
    /// The device failed.
    pub fn host_time(&mut self) -> Result<Option<std::time::Duration>> {
        let device = self.store.device().clone();
        if device.threads().is_some() {
            return Ok(None);
        }
        device.finish()?;
        let start = std::time::Instant::now();
        self.plan.replay(&mut self.store)?;
        let spent = start.elapsed();
        device.finish()?;
        Ok(Some(spent))
    }

    /// The device.
    pub fn device(&self) -> &Device {
        self.store.device()
    }

    /// The plan of a training step (without the attack's).
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The weights as they are now; their moving average where the recipe keeps one.
    ///
    /// # Errors
    /// The device failed.
    pub fn weights(&self) -> Result<Vec<(String, Tensor)>> {
        let group = self.state.average.map_or(self.model.params(), |(average, _)| average);
        self.model.tensors_with(&self.store, group)
    }

    /// The weights that are trained, as they are now.
    ///
    /// # Errors
    /// The device failed.
    pub fn trained(&self) -> Result<Vec<(String, Tensor)>> {
        self.model.tensors_of(&self.store, self.model.params())
    }

    /// Starts anew at the beginning of `epoch`: with these trained weights, a fresh optimizer state, other data and another seed.
    ///
    /// # Errors
    /// Weights or data are not those of this model.
    pub(crate) fn assign(
        &mut self,
        weights: &[(String, Tensor)],
        data: Arc<Dataset>,
        seed: u64,
        epoch: u32,
    ) -> Result<()> {
        check_data(self.model.config(), &data)?;
        let normalisation = &self.model.config().normalisation;
        self.loader = Loader::train(data, self.recipe.batch, seed, self.recipe.augment)?.for_model(normalisation)?;
        for (name, tensor) in weights {
            let var = self.store.find(self.model.params(), name)?;
            self.store.write(var, tensor)?;
        }
        self.state.reset(&mut self.store)?;
        self.recipe.seed = seed;
        (self.epoch, self.step) = (epoch, 0);
        Ok(())
    }

    /// Runs the current epoch from its next step to its end; `after` sees each step and may stop the run by an error or by
    /// returning `false`, after which the position is that of the next step.
    ///
    /// # Errors
    /// Those of `after` and of the device; a loss that is not finite, with the first op that produced such a value.
    pub fn run_epoch(&mut self, after: &mut dyn FnMut(&Self, &StepReport) -> Result<bool>) -> Result<()> {
        let steps = self.steps_per_epoch();
        let synthesis = if self.step == 0 { self.synthesise()? } else { None };
        let batches = self.loader.start(self.epoch, self.step)?;
        for batch in batches.take(steps - self.step.min(steps)) {
            let batch = batch?;
            let mut report = self.train_on(&batch)?;
            report.synthesis = synthesis.filter(|_| report.step == 0);
            self.step += 1;
            if self.step == steps {
                (self.epoch, self.step) = (self.epoch + 1, 0);
            }
            if !after(self, &report)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn synthesise(&mut self) -> Result<Option<Synthesis>> {
        let Some(synthesiser) = &self.synthesiser else { return Ok(None) };
        synthesiser.run(&mut self.store, &self.inputs, &self.loader, self.recipe.seed, self.epoch).map(Some)
    }

    /// One step on a batch.
    ///
    /// # Errors
    /// As [`Trainer::run_epoch`].
    pub fn train_on(&mut self, batch: &Samples) -> Result<StepReport> {
        self.inputs.write(&mut self.store, batch)?;
        let lr = self.launch()?;
        let (mut loss, mut norm) = ([0.0_f32], [0.0_f32; 2]);
        self.plan.read_values(&self.store, self.loss, &mut loss)?;
        self.plan.read_values(&self.store, self.norm, &mut norm)?;
        if !loss[0].is_finite() || !norm[0].is_finite() {
            return Err(self.not_finite(loss[0], norm[0])?);
        }
        Ok(StepReport {
            epoch: self.epoch,
            step: self.step,
            steps: self.steps_per_epoch(),
            loss: f64::from(loss[0]),
            norm: f64::from(norm[0]),
            lr,
            samples: batch.count,
            synthesis: None,
        })
    }

    /// Starts one step on the batch that lies in the inputs, its attack included, without reading anything back: on a GPU without
    /// waiting for it. Gives the learning rate.
    ///
    /// # Errors
    /// The device failed, or too many steps.
    pub fn launch(&mut self) -> Result<f64> {
        let steps = self.steps_per_epoch();
        #[expect(clippy::cast_precision_loss, reason = "step counts are small")]
        let t = f64::from(self.epoch) + self.step as f64 / steps as f64;
        let lr = self.recipe.schedule.rate(self.recipe.lr, t, self.recipe.epochs);
        #[expect(clippy::cast_possible_truncation, reason = "a learning rate")]
        self.store.write_values(self.state.lr, &[lr as f32])?;
        let number = self.number(steps)?;
        self.inputs.seed(&mut self.store, self.recipe.seed, number)?;
        self.attack(number, steps)?;
        self.plan.replay(&mut self.store)?;
        Ok(lr)
    }

    /// Attacks the batch that lies in the inputs, where the method does so at this step.
    fn attack(&mut self, number: u32, steps: usize) -> Result<()> {
        let (Some(attack), Method::Adversarial(adversarial)) = (&self.attack, &self.recipe.method) else {
            return Ok(());
        };
        #[expect(clippy::cast_precision_loss, reason = "step counts are small")]
        let ahead = f64::from(self.epoch) + (self.step + 1) as f64 / steps as f64;
        let keep = adversarial.keep(ahead);
        if adversarial.skips(self.recipe.seed, number, keep, self.model.config().depth) {
            return self.inputs.clear_delta(&mut self.store);
        }
        attack.set_radius(&mut self.store, adversarial.radius(keep))?;
        // An attack takes at most steps + 1 draws per restart; the stride keeps two batches' draws apart.
        let stride = (attack.config().steps + 1) * attack.config().restarts;
        #[expect(clippy::cast_possible_truncation, reason = "a probability")]
        attack.run(&mut self.store, self.recipe.seed, number.wrapping_mul(stride), keep as f32)
    }

    /// Number of the step since the start of the run.
    fn number(&self, steps: usize) -> Result<u32> {
        let within =
            usize::try_from(self.epoch).ok().and_then(|epoch| epoch.checked_mul(steps)?.checked_add(self.step));
        within.and_then(|number| u32::try_from(number).ok()).ok_or_else(|| Error::new("trainer", "too many steps"))
    }

    /// Finds the launch that first wrote a value that is not finite. The update skipped such a gradient, so the weights are
    /// still those that led there.
    fn not_finite(&mut self, loss: f32, norm: f32) -> Result<Error> {
        let culprit = self.plan.first_nonfinite(&mut self.store)?;
        Ok(Error::new("training", "the loss or its gradient is not finite")
            .with("epoch", self.epoch)
            .with("step", self.step)
            .with("loss", loss)
            .with("gradient norm", norm)
            .with("first op", culprit.unwrap_or_else(|| "none on repetition".to_owned()))
            .help("the weights are those before this step; lower the learning rate, or clip: --clip 1"))
    }
}

fn check_data(config: &VitConfig, data: &Dataset) -> Result<()> {
    let dims = data.dims();
    if dims != [config.channels, config.image[0], config.image[1]] {
        return Err(Error::new(data.name(), "the images do not have the model's shape")
            .with("images", format!("{dims:?}"))
            .with("model", format!("[{}, {}, {}]", config.channels, config.image[0], config.image[1]))
            .help("adapt the model (--image-size, --channels) or resize the images (--size)"));
    }
    if data.classes().len() != config.classes {
        return Err(Error::new(data.name(), "the data have another number of classes than the model's head")
            .with("data", data.classes().len())
            .with("head", config.classes)
            .help("give the model a fresh head: --new-head"));
    }
    Ok(())
}
