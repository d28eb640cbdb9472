//! Patch-Fool (Fu et al., 2203.08392; definition B.11): one or a few patches are replaced, without a bound but the range of
//! images, so that attention is drawn to them and the prediction turns.
//!
//! With the patch's pixels u in the network's normalised units, as in the authors' code: u starts uniform in the range of
//! images, and Adam ascends cross-entropy, with the gradients of `log(attention received)` of blocks 1 .. depth / 2 - 1 added
//! after their conflict with it was projected out. An image is done at its first success; else the try of the largest margin
//! counts.
//!
//! Where this differs from the published code: losses are per sample, not means over a batch, so that a result does not
//! depend on the batch (the code's projection does); the projection divides by |g|^2 ([`PatchFoolConfig::published_projection`] does not); the
//! best try counts, not the last; random patches of one image are all different; every draw is keyed by the sample's id.

mod choose;
mod plans;

use engine::rng::{Philox, Stream};
use engine::{Error, Plan, Result, Store, Tensor, Value};
use kernels::box_adam::rates;
use models::{Vit, VitConfig};
use serde::{Deserialize, Serialize};

use crate::eps::Eps;
use crate::inputs::Inputs;
use choose::{Units, attention_received, largest, mask_of, saliency};
use plans::{Select, Vars, plan_attention, plan_finish, plan_saliency, plan_step};

/// How the patches are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// Those that receive most attention in one block, averaged over heads and queries.
    #[default]
    Attention,
    /// Those with the largest sum of absolute gradients of the cross-entropy, in normalised units.
    Saliency,
    /// At random.
    Random,
}

/// A Patch-Fool attack. The defaults are those of the authors' code.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatchFoolConfig {
    /// Number of patches.
    pub patches: u32,
    /// How they are chosen.
    pub select: Selection,
    /// Block whose attention chooses, counted from 0; at most the last one.
    pub block: usize,
    /// Steps of Adam.
    pub steps: u32,
    /// Learning rate, in normalised units.
    pub lr: f64,
    /// The learning rate is multiplied by `decay` every so many steps.
    pub decay_every: u32,
    /// Factor of the learning rate.
    pub decay: f64,
    /// Weight of the gradient of each block's attention; 0 for cross-entropy alone.
    pub attention_weight: f32,
    /// Whether a conflicting part is projected out exactly, or as the published code does it.
    pub published_projection: bool,
    /// Bound on the change of each pixel, [0, 1] units: the mild variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mild: Option<Eps>,
    /// Only so many pixels of the patches, chosen at random: the sparse variant with a random mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<u32>,
    /// Whether an image is left alone after its first success.
    pub early_stop: bool,
    /// Whether the model's stochastic layers draw during the attack.
    pub stochastic: bool,
}

impl Default for PatchFoolConfig {
    fn default() -> Self {
        Self {
            patches: 1,
            select: Selection::Attention,
            block: 4,
            steps: 250,
            lr: 0.22,
            decay_every: 10,
            decay: 0.95,
            attention_weight: 0.002,
            published_projection: false,
            mild: None,
            pixels: None,
            early_stop: true,
            stochastic: false,
        }
    }
}

impl PatchFoolConfig {
    /// Short name: `patch-fool250-p1`.
    pub fn name(&self) -> String {
        let mild = if self.mild.is_some() { "-mild" } else { "" };
        let pixels = self.pixels.map(|pixels| format!("-px{pixels}")).unwrap_or_default();
        format!("patch-fool{}-p{}{mild}{pixels}", self.steps, self.patches)
    }

    /// Learning rate of step t, from 0.
    pub fn lr_at(&self, t: u32) -> f64 {
        self.lr * self.decay.powi(i32::try_from(t / self.decay_every.max(1)).unwrap_or(i32::MAX))
    }

    /// Checks that the fields make an attack on a model.
    ///
    /// # Errors
    /// The first field that does not, with its value.
    pub fn validate(&self, model: &VitConfig) -> Result<()> {
        let patches = model.patches();
        let counted = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        if self.steps == 0 || self.patches == 0 || counted(self.patches) > patches {
            return Err(Error::new("patch-fool", "steps must be 1 or more, patches between 1 and those of an image")
                .with("steps", self.steps)
                .with("patches", self.patches)
                .with("patches of an image", patches));
        }
        let inside = counted(self.patches) * model.patch * model.patch;
        if self.pixels.is_some_and(|pixels| pixels == 0 || counted(pixels) > inside) {
            return Err(Error::new("patch-fool", "there are not so many pixels in the patches")
                .with("pixels", format!("{:?}", self.pixels))
                .with("pixels in the patches", inside));
        }
        let sound = |value: f64| value.is_finite() && value > 0.0;
        if !sound(self.lr) || !sound(self.decay) || self.attention_weight.is_nan() || self.attention_weight < 0.0 {
            return Err(Error::new("patch-fool", "lr and decay must be positive, the attention weight 0 or more")
                .with("lr", self.lr)
                .with("decay", self.decay)
                .with("attention weight", self.attention_weight));
        }
        Ok(())
    }
}

/// Host visits that look whether all images are done: every so many steps.
const LOOK: u32 = 10;
/// Stream of the patches' first pixels.
const START: Stream = Stream::named("attack.patch_start");
/// Stream of randomly chosen patches.
const CHOICE: Stream = Stream::named("attack.patch_choice");
/// Stream of randomly chosen pixels.
const PIXELS: Stream = Stream::named("attack.patch_pixels");

/// A planned attack on one model and one batch's variables.
pub struct PatchFool {
    config: PatchFoolConfig,
    model: VitConfig,
    select: Option<Select>,
    step: Plan,
    finish: Plan,
    delta: Value,
    inputs: Inputs,
    vars: Vars,
}

impl PatchFool {
    /// Plans an attack on `model` for batches in `inputs`. The result is left in `inputs.delta`.
    ///
    /// # Errors
    /// The configuration makes no attack on this model, or the device is out of memory.
    pub fn new(store: &mut Store, model: &Vit, inputs: &Inputs, config: &PatchFoolConfig) -> Result<Self> {
        config.validate(model.config())?;
        let vars = Vars::new(store, inputs)?;
        let select = match config.select {
            Selection::Random => None,
            Selection::Attention => Some(plan_attention(store, model, inputs, config)?),
            Selection::Saliency => Some(plan_saliency(store, model, inputs, config, vars)?),
        };
        let step = plan_step(store, model, inputs, config, vars)?;
        let (finish, delta) = plan_finish(store, model, inputs, config, vars)?;
        let model = model.config().clone();
        Ok(Self { config: config.clone(), model, select, step, finish, delta, inputs: *inputs, vars })
    }

    /// What is attacked with.
    pub fn config(&self) -> &PatchFoolConfig {
        &self.config
    }

    /// The plan of one step.
    pub fn step_plan(&self) -> &Plan {
        &self.step
    }

    /// Attacks the batch that lies in the inputs.
    ///
    /// Equal (seed, step) and sample ids give equal perturbations, however the samples are batched.
    ///
    /// # Errors
    /// The device failed.
    pub fn run(&self, store: &mut Store, seed: u64, step: u32) -> Result<()> {
        let chosen = self.choose(store, seed, step)?;
        self.run_on(store, &chosen, seed, step)
    }

    /// As [`PatchFool::run`], on the given patches of each sample, counted row by row from 0; attention is drawn to the first.
    ///
    /// # Errors
    /// As [`PatchFool::run`]; a patch that the image does not have.
    pub fn run_on(&self, store: &mut Store, chosen: &[Vec<usize>], seed: u64, step: u32) -> Result<()> {
        let start = self.start(store, chosen, seed, step)?;
        self.run_from(store, &start)
    }

    /// As [`PatchFool::run_on`], after [`PatchFool::start`] has prepared the variables, from the patch `start` (normalised units,
    /// [b, c, h, w]).
    ///
    /// # Errors
    /// As [`PatchFool::run`].
    pub fn run_from(&self, store: &mut Store, start: &[f32]) -> Result<()> {
        store.write_values(self.vars.patch, start)?;
        for var in [self.vars.first_moment, self.vars.second_moment] {
            let zeros = Tensor::zeros(store.spec(var)?);
            store.write(var, &zeros)?;
        }
        store.write_values(self.vars.score, &vec![f32::NEG_INFINITY; self.inputs.batch])?;
        let device = store.device().clone();
        device.run(|| {
            for t in 0..self.config.steps {
                store.write_values(self.vars.rates, &rates(self.config.lr_at(t), t + 1))?;
                self.step.replay(store)?;
                if self.config.early_stop && (t + 1) % LOOK == 0 && self.all_done(store)? {
                    break;
                }
            }
            self.finish.replay(store)?;
            let delta = self.finish.read(store, self.delta)?;
            let images = store.read(self.inputs.images)?;
            let pairs = delta.values::<f32>()?.iter().zip(images.values::<f32>()?);
            // Denormalised pixels may be a rounding outside of the range.
            let delta: Vec<f32> = pairs.map(|(&delta, &x)| delta.clamp(0.0 - x, 1.0 - x)).collect();
            store.write_values(self.inputs.delta, &delta)
        })
    }

    /// The patch as it is after the last step, in normalised units [b, c, h, w].
    ///
    /// # Errors
    /// The device failed.
    pub fn patch(&self, store: &Store) -> Result<Tensor> {
        store.read(self.vars.patch)
    }

    fn all_done(&self, store: &Store) -> Result<bool> {
        let weights = store.read(self.inputs.weights)?;
        let scores = store.read(self.vars.score)?;
        let mut pairs = scores.values::<f32>()?.iter().zip(weights.values::<f32>()?);
        Ok(pairs.all(|(&score, &weight)| score > 0.0 || weight == 0.0))
    }

    /// The patches that the configuration chooses for the batch in the inputs.
    ///
    /// # Errors
    /// The device failed.
    pub fn choose(&self, store: &mut Store, seed: u64, step: u32) -> Result<Vec<Vec<usize>>> {
        store.write_values(self.vars.random, &Philox::state(seed, step))?;
        let count = self.model.patches();
        let scores = match &self.select {
            None => {
                let philox = Philox::new(seed, step, CHOICE);
                let ids = store.read(self.inputs.ids)?;
                let ids = ids.values::<u32>()?;
                ids.iter().flat_map(|&id| (0..count).map(move |at| f64::from(philox.bits(id, at)))).collect()
            }
            Some(select) => {
                select.plan.replay(store)?;
                let scores = select.plan.read(store, select.scores)?;
                match self.config.select {
                    Selection::Saliency => saliency(&scores, &self.model)?,
                    _ => attention_received(&scores, &self.model)?,
                }
            }
        };
        let most = usize::try_from(self.config.patches).unwrap_or(usize::MAX);
        Ok(scores.chunks(count.max(1)).map(|scores| largest(scores, most)).collect())
    }

    /// Writes mask, bounds and the first patch's token, and gives the patch to start from.
    ///
    /// # Errors
    /// A patch that the image does not have; the device failed.
    pub fn start(&self, store: &mut Store, chosen: &[Vec<usize>], seed: u64, step: u32) -> Result<Vec<f32>> {
        let model = &self.model;
        let count = model.patches();
        if chosen.len() != self.inputs.batch
            || chosen.iter().any(|list| list.is_empty() || list.iter().any(|&at| at >= count))
        {
            return Err(Error::new("patch-fool", "every sample needs patches that it has")
                .with("patches of an image", count)
                .with("samples", self.inputs.batch)
                .with("chosen", format!("{chosen:?}")));
        }
        let (images, ids) = (store.read(self.inputs.images)?, store.read(self.inputs.ids)?);
        let (images, ids) = (images.values::<f32>()?, ids.values::<u32>()?);
        let mild = self.config.mild.as_ref().map(Eps::value);
        let (start, pixels) = (Philox::new(seed, step, START), Philox::new(seed, step, PIXELS));
        let [height, width] = model.image;
        let volume = model.channels * height * width;
        let mut bounds = [Vec::new(), Vec::new(), Vec::new()];
        let mut mask = Vec::new();
        for ((image, &id), chosen) in images.chunks(volume.max(1)).zip(ids).zip(chosen) {
            for (at, &x) in image.iter().enumerate() {
                let x = f64::from(x);
                let (low, high) = mild.map_or((0.0, 1.0), |eps| ((x - eps).max(0.0), (x + eps).min(1.0)));
                let u = f64::from(start.uniform(id, at));
                let first = mild.map_or(u, |eps| (x + eps * (2.0 * u - 1.0)).clamp(low, high));
                let units = Units::of(model, at / (height * width));
                for (list, value) in bounds.iter_mut().zip([low, high, first]) {
                    list.push(units.normalised(value));
                }
            }
            mask.extend(mask_of(model, chosen, self.config.pixels.map(|count| (count, pixels, id))));
        }
        let token = |list: &Vec<usize>| list.first().map_or(0, |&at| at + model.prefix_tokens());
        let keys: Vec<i32> = chosen.iter().map(|list| i32::try_from(token(list)).unwrap_or(i32::MAX)).collect();
        let [low, high, first] = bounds;
        store.write_values(self.vars.low, &low)?;
        store.write_values(self.vars.high, &high)?;
        store.write_values(self.vars.mask, &mask)?;
        store.write_values(self.vars.key, &keys)?;
        store.write_values(self.vars.random, &Philox::state(seed, step))?;
        Ok(first)
    }
}
