//! Approximate nullspace of the encoder: one additive tensor on the patch tokens (or the images) that is large and changes the logits
//! little (2403.10476; algorithm A.1 of the method notes, with the authors' final code's defaults).
//!
//! Noise starts uniform and descends the mean squared distance of logits by AdamW, until the mean squared distance of
//! probabilities on a batch falls below eps: tested before the update, on that one batch.

use engine::rng::{Philox, Stream};
use engine::{DType, Error, Group, Plan, Result, Role, Spec, Store, Tape, Value, Var};
use kernels::adamw::{AdamW, AdamWStep, adamw};
use kernels::common::decay::Decay;
use kernels::ema::ema;
use kernels::global_norm::global_norm;
use kernels::mse::squared_distance;
use kernels::softmax_distance::softmax_distance;
use kernels::weighted_mean::{Reduction, weighted_mean};
use models::Vit;
use models::vit::Run;
use serde::{Deserialize, Serialize};

use crate::data::{Batch, Loader};
use crate::inputs::Inputs;

/// Where the noise comes from: the method and its controls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// Optimised: the method.
    #[default]
    Learned,
    /// Optimised, then all entries permuted: equal norm, no structure.
    Permuted,
    /// Normal noise, scaled by 0.8 until its influence is below eps.
    Random,
    /// No noise: finetuning with the clean loss twice.
    None,
}

/// What the noise is added to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The patch tokens: noise [1, p, d]. The paper's method.
    #[default]
    Encoder,
    /// The normalised images: noise [1, c, h, w]. The paper's variant on the input.
    Image,
}

/// Knobs of nullspace finetuning.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NullspaceConfig {
    /// The method, or a control.
    pub noise: Noise,
    /// What the noise is added to.
    pub level: Level,
    /// Half-width of the uniform start.
    pub limit: f64,
    /// Learning rate of the noise.
    pub lr: f64,
    /// Bound of the mean squared distance of softmax probabilities.
    pub eps: f64,
    /// Most passes over the share of the data.
    pub rounds: u32,
    /// Share of an epoch's batches per pass.
    pub share: f64,
    /// Weight decay of the noise (AdamW's default in the authors' code).
    pub weight_decay: f64,
    /// Whether to stop at eps; else all rounds run.
    pub early_stop: bool,
}

impl Default for NullspaceConfig {
    fn default() -> Self {
        Self {
            noise: Noise::Learned,
            level: Level::Encoder,
            limit: 3.0,
            lr: 0.1,
            eps: 0.03,
            rounds: 3,
            share: 0.1,
            weight_decay: 0.01,
            early_stop: true,
        }
    }
}

impl NullspaceConfig {
    /// Checks the knobs.
    ///
    /// # Errors
    /// The first that is out of range, by name.
    pub fn validate(&self) -> Result<()> {
        let positive = [("limit", self.limit), ("lr", self.lr), ("eps", self.eps)];
        for (name, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::new("nullspace", format!("{name} must be positive")).with(name, value));
            }
        }
        if self.rounds == 0 || !(0.0..=1.0).contains(&self.share) {
            return Err(Error::new("nullspace", "rounds must be 1 or more and share lie in [0, 1]")
                .with("rounds", self.rounds)
                .with("share", self.share));
        }
        Ok(())
    }
}

/// What a synthesis came to.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Synthesis {
    /// Updates made.
    pub steps: u32,
    /// Euclidean norm at the start.
    pub start_norm: f64,
    /// Euclidean norm at the end.
    pub norm: f64,
    /// Influence (mean squared distance of probabilities) on the last batch looked at.
    pub influence: f64,
    /// Whether the influence fell below eps.
    pub reached: bool,
}

/// Plans that synthesise noise for one model.
pub struct Synthesiser {
    config: NullspaceConfig,
    noise: Group,
    probe: Plan,
    influence: Value,
    update: Plan,
    lr: Var,
    state: [Var; 3],
}

impl Synthesiser {
    /// Plans for `model`, whose noise variable is created here.
    ///
    /// # Errors
    /// The knobs are out of range, or out of memory.
    pub fn new(store: &mut Store, model: &Vit, inputs: &Inputs, config: &NullspaceConfig) -> Result<Self> {
        config.validate()?;
        let shape = model.config();
        let spec = match config.level {
            Level::Encoder => Spec::new(DType::F32, &[1, shape.patches(), shape.width])?,
            Level::Image => Spec::new(DType::F32, &[1, shape.channels, shape.image[0], shape.image[1]])?,
        };
        let group = |store: &mut Store, name: &str, role| store.group(name, role, &[("noise".to_owned(), spec)]);
        let noise = group(store, "noise", Role::Data)?;
        let gradient = group(store, "noise gradient", Role::Data)?;
        let moment1 = group(store, "noise moment1", Role::Optimizer)?;
        let moment2 = group(store, "noise moment2", Role::Optimizer)?;
        let steps = store.data_var("noise steps", DType::U32, &[1])?;
        let lr = store.data_var("noise lr", DType::F32, &[1])?;

        let mut tape = Tape::new();
        let images = tape.var(store, inputs.images)?;
        let weights = tape.var(store, inputs.weights)?;
        let noise_value = tape.var(store, store.find(noise, "noise")?)?;
        let patches = model.embed(&mut tape, store, images)?;
        let clean = tape.scope("clean", |tape| model.encode(tape, store, patches, &Run::default()))?.logits;
        let tokens = on_tokens(&mut tape, store, model, config.level, noise_value)?;
        let run = Run { noise: Some(tokens), ..Run::default() };
        let noisy = tape.scope("noisy", |tape| model.encode(tape, store, patches, &run))?.logits;
        let distance = softmax_distance(&mut tape, clean, noisy)?;
        let influence = weighted_mean(&mut tape, distance, weights, Reduction::Mean)?;
        let loss = squared_distance(&mut tape, noisy, clean)?;
        let loss = weighted_mean(&mut tape, loss, weights, Reduction::Mean)?;
        let flat = tape.backward(loss, None, &[], &[(store, noise)])?;
        let flat = *flat.groups.first().ok_or_else(|| Error::new("nullspace", "no gradient"))?;
        // The test comes before the update, so the gradient waits in a variable until the host has seen the influence.
        ema(&mut tape, store, store.flat(gradient), flat, 0.0)?;
        let probe = tape.plan(store, &[influence])?;

        let mut tape = Tape::new();
        let gradient = tape.var(store, store.flat(gradient))?;
        let rate = tape.var(store, lr)?;
        let norm = global_norm(&mut tape, &[gradient], f64::INFINITY)?;
        let options = AdamW { decay: Decay::uniform(config.weight_decay), ..AdamW::default() };
        let step = AdamWStep {
            params: store.flat(noise),
            first_moment: store.flat(moment1),
            second_moment: store.flat(moment2),
            steps,
            gradients: gradient,
            lr: rate,
            clip: norm,
        };
        adamw(&mut tape, store, options, step)?;
        let update = tape.plan(store, &[])?;
        let state = [store.flat(moment1), store.flat(moment2), steps];
        Ok(Self { config: config.clone(), noise, probe, influence, update, lr, state })
    }

    /// The group that holds the noise alone.
    pub fn group(&self) -> Group {
        self.noise
    }

    /// Records what the noise adds to the patch tokens of `model`: [1, p, d].
    ///
    /// # Errors
    /// The store is another.
    pub fn record(&self, tape: &mut Tape, store: &Store, model: &Vit) -> Result<Value> {
        let noise = tape.var(store, self.noise(store)?)?;
        on_tokens(tape, store, model, self.config.level, noise)
    }

    /// The noise variable, [1, p, d] or [1, c, h, w].
    ///
    /// # Errors
    /// The store is another.
    pub fn noise(&self, store: &Store) -> Result<Var> {
        store.find(self.noise, "noise")
    }

    /// Synthesises fresh noise for `epoch` on batches of `loader`.
    ///
    /// # Errors
    /// The device failed, or a batch can't be read.
    pub fn run(&self, store: &mut Store, inputs: &Inputs, loader: &Loader, seed: u64, epoch: u32) -> Result<Synthesis> {
        let noise = self.noise(store)?;
        let count = store.spec(noise)?.elements();
        let philox = Philox::new(seed, epoch, Stream::named("nullspace.noise"));
        #[expect(clippy::cast_possible_truncation, reason = "the knob's own precision")]
        let limit = self.config.limit as f32;
        let start: Vec<f32> = match self.config.noise {
            Noise::None => vec![0.0; count],
            Noise::Random => (0..count).map(|i| philox.normal(0, i)).collect(),
            Noise::Learned | Noise::Permuted => {
                (0..count).map(|i| limit * (2.0 * philox.uniform(0, i) - 1.0)).collect()
            }
        };
        store.write_values(noise, &start)?;
        let mut report = Synthesis { start_norm: norm(&start), ..Synthesis::default() };
        if self.config.noise != Noise::None {
            for var in self.state {
                let zeros = engine::Tensor::zeros(store.spec(var)?);
                store.write(var, &zeros)?;
            }
            self.descend(store, inputs, loader, epoch, &mut report)?;
        }
        let mut values = store.read(noise)?;
        if self.config.noise == Noise::Permuted {
            let permuted = super::exact::permuted(values.values::<f32>()?, seed, epoch);
            values.values_mut::<f32>()?.copy_from_slice(&permuted);
            store.write(noise, &values)?;
        }
        report.norm = norm(values.values::<f32>()?);
        Ok(report)
    }

    fn descend(
        &self,
        store: &mut Store,
        inputs: &Inputs,
        loader: &Loader,
        epoch: u32,
        report: &mut Synthesis,
    ) -> Result<()> {
        let steps = loader.steps();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share"
        )]
        let take = ((self.config.share * steps as f64) as usize).max(1);
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let course = f64::from(self.config.rounds) * steps as f64;
        for round in 0..self.config.rounds {
            // Epoch numbers of training are below 2^16: the batches of a synthesis are orders of their own.
            let order = epoch.wrapping_add((round + 1) << 16);
            for batch in loader.start(order, 0)?.take(take) {
                let batch: Batch = batch?;
                inputs.write(store, &batch)?;
                self.probe.replay(store)?;
                let mut influence = [0.0_f32];
                self.probe.read_values(store, self.influence, &mut influence)?;
                report.influence = f64::from(influence[0]);
                report.reached = report.influence < self.config.eps;
                if report.reached && self.config.early_stop {
                    return Ok(());
                }
                if self.config.noise == Noise::Random {
                    self.shrink(store)?;
                } else {
                    let progress = f64::from(report.steps) / course;
                    let rate = 0.5 * self.config.lr * (1.0 + (std::f64::consts::PI * progress).cos());
                    #[expect(clippy::cast_possible_truncation, reason = "a learning rate")]
                    store.write_values(self.lr, &[rate as f32])?;
                    self.update.replay(store)?;
                }
                report.steps += 1;
            }
        }
        Ok(())
    }

    fn shrink(&self, store: &mut Store) -> Result<()> {
        let noise = self.noise(store)?;
        let mut values = store.read(noise)?;
        values.values_mut::<f32>()?.iter_mut().for_each(|value| *value *= 0.8);
        store.write(noise, &values)
    }
}

/// Noise as it reaches the patch tokens [1, p, d].
fn on_tokens(tape: &mut Tape, store: &Store, model: &Vit, level: Level, noise: Value) -> Result<Value> {
    match level {
        Level::Encoder => Ok(noise),
        Level::Image => model.embed_noise(tape, store, noise),
    }
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}
