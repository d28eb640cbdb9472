//! What runs on the device: the choice of patches, one step, and the judgement of the last one.

use engine::{DType, Error, Plan, Result, Role, Store, Tape, Tensor, Value, Var};
use kernels::advance::advance;
use kernels::attention::attention;
use kernels::box_adam::{BoxAdamStep, box_adam};
use kernels::cast::cast;
use kernels::combine::combine;
use kernels::correct::correct;
use kernels::cross_entropy::cross_entropy;
use kernels::keep_best::keep_best;
use kernels::log_received::log_attention_received;
use kernels::margin::margin;
use kernels::normalise::normalise;
use kernels::paste::paste;
use kernels::project_conflict::{Projection, project_conflict};
use models::Vit;
use models::vit::{Run, Trace};

use super::PatchFoolConfig;
use crate::inputs::Inputs;

/// The plan that scores patches, and its result.
pub(super) struct Select {
    pub(super) plan: Plan,
    /// Gradient of the sum of attention's outputs to qkv [b, n, 3 h d], or of cross-entropy to images [b, c, h, w].
    pub(super) scores: Value,
}

/// Variables of the attack: [b, c, h, w] where nothing else is said.
#[derive(Clone, Copy)]
pub(super) struct Vars {
    /// Pixels of the patch, in normalised units.
    pub(super) patch: Var,
    pub(super) first_moment: Var,
    pub(super) second_moment: Var,
    pub(super) low: Var,
    pub(super) high: Var,
    /// 1 in the patches.
    pub(super) mask: Var,
    /// The patch of the largest margin.
    pub(super) best: Var,
    /// That margin `[b]`.
    pub(super) score: Var,
    /// Of Adam `[2]`.
    pub(super) rates: Var,
    /// The first patch's token, i32 `[b]`.
    pub(super) key: Var,
    /// 1 for every sample `[b]`: where success stops nobody.
    pub(super) all: Var,
    pub(super) random: Var,
}

impl Vars {
    pub(super) fn new(store: &mut Store, inputs: &Inputs) -> Result<Self> {
        let spec = store.spec(inputs.delta)?;
        let image = |store: &mut Store, name: &str| store.single(name, Role::Data, spec);
        Ok(Self {
            patch: image(store, "patch.pixels")?,
            first_moment: image(store, "patch.first_moment")?,
            second_moment: image(store, "patch.second_moment")?,
            low: image(store, "patch.low")?,
            high: image(store, "patch.high")?,
            mask: image(store, "patch.mask")?,
            best: image(store, "patch.best")?,
            score: store.data_var("patch.score", DType::F32, &[inputs.batch])?,
            rates: store.data_var("patch.rates", DType::F32, &[2])?,
            key: store.data_var("patch.key", DType::I32, &[inputs.batch])?,
            all: store.constant(
                "patch.all",
                Role::Data,
                &Tensor::new(&[inputs.batch], &vec![1.0_f32; inputs.batch])?,
            )?,
            random: store.data_var("patch.random", DType::U32, &[engine::rng::STATE_WORDS])?,
        })
    }
}

pub(super) fn plan_attention(
    store: &mut Store,
    model: &Vit,
    inputs: &Inputs,
    config: &PatchFoolConfig,
) -> Result<Select> {
    let mut tape = Tape::new();
    let images = tape.var(store, inputs.images)?;
    // Which patch is attended to is asked of the mean network, whatever the attack draws.
    let trace = model.trace(&mut tape, store, images, &Run::default())?;
    let block = config.block.min(trace.qkv.len().saturating_sub(1));
    let qkv = *trace.qkv.get(block).ok_or_else(|| Error::new("patch-fool", "the model has no block"))?;
    let attended = attention(&mut tape, qkv, model.config().heads)?;
    let gradient = tape.gradients(attended, &[qkv])?;
    let gradient = *gradient.first().ok_or_else(|| Error::new("patch-fool", "no gradient"))?;
    let scores = cast(&mut tape, gradient, DType::F32)?;
    Ok(Select { plan: tape.plan(store, &[scores])?, scores })
}

pub(super) fn plan_saliency(
    store: &mut Store,
    model: &Vit,
    inputs: &Inputs,
    config: &PatchFoolConfig,
    vars: Vars,
) -> Result<Select> {
    let mut tape = Tape::new();
    let images = tape.var(store, inputs.images)?;
    let run = run(&mut tape, store, inputs, config, vars)?;
    let logits = model.forward(&mut tape, store, images, &run)?.logits;
    let targets = tape.var(store, inputs.targets)?;
    let losses = cross_entropy(&mut tape, logits, targets)?;
    let gradient = tape.gradients(losses, &[images])?;
    let scores = *gradient.first().ok_or_else(|| Error::new("patch-fool", "no gradient"))?;
    Ok(Select { plan: tape.plan(store, &[scores])?, scores })
}

fn run<'a>(tape: &mut Tape, store: &Store, inputs: &Inputs, config: &PatchFoolConfig, vars: Vars) -> Result<Run<'a>> {
    let random = inputs.draws(tape, store, vars.random)?;
    Ok(Run { random: Some(random), stochastic: config.stochastic, ..Run::default() })
}

/// Images with `patch` (normalised units) over them.
fn patched(tape: &mut Tape, store: &Store, model: &Vit, inputs: &Inputs, patch: Value, mask: Var) -> Result<Value> {
    let units = &model.config().normalisation;
    // (u + mean / std) std: normalise with the inverse's mean and deviation.
    let mean: Vec<f32> = units.mean.iter().zip(&units.std).map(|(mean, std)| -mean / std).collect();
    let std: Vec<f32> = units.std.iter().map(|std| 1.0 / std).collect();
    let pixels = normalise(tape, patch, &mean, &std)?;
    let (images, mask) = (tape.var(store, inputs.images)?, tape.var(store, mask)?);
    paste(tape, images, pixels, mask)
}

/// What one forward pass of the patched images gives: the trace, and the margins `[b]`.
fn judged(
    tape: &mut Tape,
    store: &Store,
    model: &Vit,
    inputs: &Inputs,
    config: &PatchFoolConfig,
    vars: Vars,
) -> Result<(Trace, Value)> {
    let patch = tape.var(store, vars.patch)?;
    let x = patched(tape, store, model, inputs, patch, vars.mask)?;
    let run = run(tape, store, inputs, config, vars)?;
    let trace = model.trace(tape, store, x, &run)?;
    let labels = tape.var(store, inputs.labels)?;
    let margins = margin(tape, trace.output.logits, labels, None)?;
    keep_best(tape, store, vars.best, vars.score, patch, margins)?;
    Ok((trace, margins))
}

pub(super) fn plan_step(
    store: &mut Store,
    model: &Vit,
    inputs: &Inputs,
    config: &PatchFoolConfig,
    vars: Vars,
) -> Result<Plan> {
    let mut tape = Tape::new();
    let (trace, _) = judged(&mut tape, store, model, inputs, config, vars)?;
    let logits = trace.output.logits;
    let patch = tape.var(store, vars.patch)?;
    let targets = tape.var(store, inputs.targets)?;
    let losses = cross_entropy(&mut tape, logits, targets)?;
    let main = tape.gradients(losses, &[patch])?;
    let main = *main.first().ok_or_else(|| Error::new("patch-fool", "no gradient"))?;
    let projection = if config.published_projection { Projection::Published } else { Projection::Exact };
    let mut gradient = main;
    if config.attention_weight > 0.0 {
        let key = tape.var(store, vars.key)?;
        let half = model.config().depth / 2;
        for (block, &qkv) in trace.qkv.iter().enumerate().take(half).skip(1) {
            gradient = tape.scope(format!("attention.{block}"), |tape| {
                let received = log_attention_received(tape, qkv, key, model.config().heads)?;
                let slope = tape.gradients(received, &[patch])?;
                let slope = *slope.first().ok_or_else(|| Error::new("patch-fool", "no gradient"))?;
                project_conflict(tape, gradient, main, slope, config.attention_weight, projection)
            })?;
        }
    }
    let active = match config.early_stop {
        true => {
            let labels = tape.var(store, inputs.labels)?;
            correct(&mut tape, logits, labels)?
        }
        false => tape.var(store, vars.all)?,
    };
    let step = BoxAdamStep {
        value: vars.patch,
        first_moment: vars.first_moment,
        second_moment: vars.second_moment,
        gradient,
        low: tape.var(store, vars.low)?,
        high: tape.var(store, vars.high)?,
        rates: tape.var(store, vars.rates)?,
        active,
    };
    box_adam(&mut tape, store, step)?;
    advance(&mut tape, store, &[vars.random])?;
    tape.plan(store, &[])
}

/// Judges the last patch too, and gives the perturbation of the best one.
pub(super) fn plan_finish(
    store: &mut Store,
    model: &Vit,
    inputs: &Inputs,
    config: &PatchFoolConfig,
    vars: Vars,
) -> Result<(Plan, Value)> {
    let mut tape = Tape::new();
    judged(&mut tape, store, model, inputs, config, vars)?;
    let best = tape.var(store, vars.best)?;
    let attacked = patched(&mut tape, store, model, inputs, best, vars.mask)?;
    let images = tape.var(store, inputs.images)?;
    let delta = combine(&mut tape, &[(1.0, attacked), (-1.0, images)])?;
    Ok((tape.plan(store, &[delta])?, delta))
}
