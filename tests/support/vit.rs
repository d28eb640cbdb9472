//! Whole steps of a small Vision Transformer, put together from ops: a training step and an attack step.
//!
//! They do what `train` does, by the definitions and not by its code, so that the two can be held against each other.

use engine::{DType, Group, Plan, Result, Role, Store, Tape, Tensor, Value, Var};
use kernels::advance::advance;
use kernels::combine::combine;
use kernels::common::attack::Step;
use kernels::common::decay::Decay;
use kernels::cross_entropy::cross_entropy_labels;
use kernels::global_norm::global_norm;
use kernels::linf_step::linf_step;
use kernels::sgd::{Sgd, SgdStep, sgd};
use kernels::weighted_mean::{Reduction, weighted_mean};
use models::config::{Activation, Normalisation, Pool, VitConfig};
use models::init::init;
use models::vit::{Output, Random, Run, Vit};

/// A configuration with a class token, 16-pixel images of three channels and patches of 4.
pub fn config(width: usize, depth: usize, heads: usize) -> VitConfig {
    VitConfig {
        image: [16, 16],
        channels: 3,
        patch: 4,
        width,
        depth,
        heads,
        head_width: width / heads,
        mlp_width: 2 * width,
        classes: 5,
        activation: Activation::Gelu,
        qkv_bias: true,
        norm_eps: 1e-6,
        layer_scale: false,
        class_token: true,
        distilled: false,
        register_tokens: 0,
        no_embed_class: false,
        pool: Pool::Token,
        drop_path: 0.0,
        stochastic: None,
        normalisation: Normalisation::half(3),
    }
}

/// Parameters that are large enough for gradients to be felt everywhere: fresh ones, with the weights five times as large.
///
/// # Errors
/// As [`init`].
pub fn lively(config: &VitConfig, seed: u64) -> Result<Vec<(String, Tensor)>> {
    let mut tensors = init(config, seed)?;
    for (name, tensor) in &mut tensors {
        let factor = if name.contains("norm") || name.starts_with("patch_embed") { 1.0 } else { 5.0 };
        let noise = engine::check::random::<f32>(tensor.dims(), seed, name)?;
        for (value, noise) in tensor.values_mut::<f32>()?.iter_mut().zip(noise.values::<f32>()?) {
            *value = factor * *value + 0.05 * noise;
        }
    }
    Ok(tensors)
}

/// Images in [0, 1], a function of the seed.
///
/// # Errors
/// As [`Tensor::from_fn`].
pub fn images(count: usize, config: &VitConfig, seed: u64) -> Result<Tensor> {
    let philox = engine::rng::Philox::new(seed, 0, engine::rng::Stream::named("images"));
    Tensor::from_fn(&[count, config.channels, config.image[0], config.image[1]], |i| philox.uniform(0, i))
}

/// A model, its inputs and the scalars of its steps in one store.
pub struct Net {
    /// Everything below lies here.
    pub store: Store,
    /// The model.
    pub vit: Vit,
    /// `[b, c, h, w]`.
    pub images: Var,
    /// i32 `[b]`.
    pub labels: Var,
    /// Ones `[b]`.
    pub weights: Var,
    /// Random state u32 `[4]` and sample ids u32 `[b]`.
    pub random: [Var; 2],
}

impl Net {
    /// A model of `dtype` with room for a batch of `images`.
    ///
    /// # Errors
    /// Those of the store and of the model.
    pub fn new(
        device: engine::Device,
        config: &VitConfig,
        tensors: &[(String, Tensor)],
        dtype: DType,
        images: &Tensor,
        labels: &[i32],
    ) -> Result<Self> {
        let mut store = Store::new(device)?;
        let vit = Vit::new(&mut store, "params", config.clone(), tensors, dtype)?;
        let images = store.constant("images", Role::Data, &to(dtype, images)?)?;
        let count = labels.len();
        let labels = store.constant("labels", Role::Data, &Tensor::new(&[count], labels)?)?;
        let weights = store.constant("weights", Role::Data, &to(dtype, &Tensor::from_fn(&[count], |_| 1.0_f32)?)?)?;
        let state = Tensor::new(&[4], &engine::rng::Philox::state(5, 0))?;
        let ids = Tensor::from_fn(&[count], |i| u32::try_from(i).unwrap_or(0))?;
        let random = [store.constant("state", Role::Data, &state)?, store.constant("ids", Role::Data, &ids)?];
        Ok(Self { store, vit, images, labels, weights, random })
    }

    /// A variable of one element.
    ///
    /// # Errors
    /// Out of memory.
    pub fn scalar(&mut self, tape: &mut Tape, name: &str, value: f64) -> Result<(Var, Value)> {
        let dtype = self.store.spec(self.images)?.dtype;
        let var = self.store.constant(name, Role::Data, &to(dtype, &Tensor::new(&[1], &[value])?)?)?;
        Ok((var, tape.var(&self.store, var)?))
    }

    /// Random state and sample ids as values.
    ///
    /// # Errors
    /// None in practice: the variables are the store's own.
    pub fn random(&self, tape: &mut Tape) -> Result<Random> {
        Ok(Random { state: tape.var(&self.store, self.random[0])?, ids: tape.var(&self.store, self.random[1])? })
    }

    /// Records the forward pass from `images` and the mean cross-entropy.
    ///
    /// # Errors
    /// Those of recording.
    pub fn loss(&self, tape: &mut Tape, images: Value, run: &Run) -> Result<(Output, Value)> {
        let output = self.vit.forward(tape, &self.store, images, run)?;
        let labels = tape.var(&self.store, self.labels)?;
        let weights = tape.var(&self.store, self.weights)?;
        let each = cross_entropy_labels(tape, output.logits, labels, 0.0)?;
        Ok((output, weighted_mean(tape, each, weights, Reduction::Mean)?))
    }

    /// One step of SGD with momentum; gives the plan and the loss before the step.
    ///
    /// # Errors
    /// Those of recording and planning.
    pub fn training(
        &mut self,
        lr: f64,
        momentum: f64,
        decay: f64,
        max_norm: f64,
        checks: bool,
    ) -> Result<(Plan, Value)> {
        let mut tape = Tape::new();
        let images = tape.var(&self.store, self.images)?;
        let (_, loss) = self.loss(&mut tape, images, &Run::default())?;
        let params: Group = self.vit.params();
        let gradients = tape.backward(loss, None, &[], &[(&self.store, params)])?.groups[0];
        let clip = global_norm(&mut tape, &[gradients], max_norm)?;
        let (_, lr) = self.scalar(&mut tape, "lr", lr)?;
        let velocity = self.store.group_like("momentum", Role::Optimizer, params)?;
        let step =
            SgdStep { params: self.store.flat(params), momentum: Some(self.store.flat(velocity)), gradients, lr, clip };
        let options = Sgd { momentum, nesterov: false, decay: Decay::uniform(decay) };
        sgd(&mut tape, &self.store, options, step)?;
        Ok((tape.plan_with(&mut self.store, &[loss], checks)?, loss))
    }

    /// One PGD step on a perturbation, which starts at 0; gives the plan, the loss before the step and the perturbation.
    ///
    /// # Errors
    /// Those of recording and planning.
    pub fn attack(&mut self, eps: f64, alpha: f64, checks: bool) -> Result<(Plan, Value, Var)> {
        let mut tape = Tape::new();
        let clean = tape.var(&self.store, self.images)?;
        let delta = self.store.single("delta", Role::Data, self.store.spec(self.images)?)?;
        let moved = tape.var(&self.store, delta)?;
        let images = combine(&mut tape, &[(1.0, clean), (1.0, moved)])?;
        let (_, loss) = self.loss(&mut tape, images, &Run::default())?;
        let gradient = tape.gradients(loss, &[images])?[0];
        let (_, eps) = self.scalar(&mut tape, "eps", eps)?;
        let (_, alpha) = self.scalar(&mut tape, "alpha", alpha)?;
        linf_step(&mut tape, &self.store, Step { delta, gradient, images: clean, eps, alpha, active: None })?;
        advance(&mut tape, &self.store, &[self.random[0]])?;
        Ok((tape.plan_with(&mut self.store, &[loss], checks)?, loss, delta))
    }
}

/// The tensor in another float type.
///
/// # Errors
/// As [`Tensor::cast`].
pub fn to(dtype: DType, tensor: &Tensor) -> Result<Tensor> {
    if dtype == DType::F64 { tensor.cast::<f64>() } else { tensor.cast::<f32>() }
}
