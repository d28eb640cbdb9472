//! The Vision Transformer as ops on a tape: ViT and DeiT, plain and distilled.
//!
//! Pre-norm blocks (Dosovitskiy et al., 2010.11929, eq. 2-4): `x += ls1(drop_path(attn(norm1 x)))`,
//! `x += ls2(drop_path(mlp(norm2 x)))`. Images enter in [0, 1]; normalisation is the first op.

use std::collections::HashMap;

use engine::{DType, Error, Group, Result, Role, Spec, Store, Tape, Tensor, Value};
use kernels::attention::attention;
use kernels::cast::cast;
use kernels::combine::combine;
use kernels::drop_path::drop_path;
use kernels::grad_gate::grad_gate;
use kernels::layer_norm::layer_norm;
use kernels::linear::linear;
use kernels::normalise::normalise;
use kernels::patch_embed::patch_embed;
use kernels::pool::pool;
use kernels::residual::residual;
use kernels::tokens::{Parts, tokens};

use crate::config::{Activation, Pool, VitConfig};
use crate::stochastic::{Stochastic, layer};

/// A ViT whose parameters lie in a store.
#[derive(Clone, Debug)]
pub struct Vit {
    config: VitConfig,
    params: Group,
    /// Parameters that are not trained.
    frozen: Option<Group>,
}

/// Random state and sample ids: what stochastic parts draw from.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    /// u32 `[4]`, see `engine::rng`.
    pub state: Value,
    /// u32 `[b]`.
    pub ids: Value,
}

/// How one forward pass runs. The default is inference without any randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run<'a> {
    /// Needed where `drop_path`, `stochastic` or `gate` are on.
    pub random: Option<Random>,
    /// Whether stochastic depth is on (training).
    pub drop_path: bool,
    /// Whether the configured stochastic layers draw (training and inference of paper 2112.15111); else the mean network.
    pub stochastic: bool,
    /// Keep probability f32 `[1]` of the attention branches' gradients: Attention Random Dropping of an attack's backward pass
    /// (2210.07540). The forward values don't change.
    pub gate: Option<Value>,
    /// Noise on the patch tokens [1, p, d], before prefix tokens and position embedding (2403.10476).
    pub noise: Option<Value>,
    /// Distinguishes the random streams of several passes on one tape.
    pub tag: &'a str,
}

/// What a forward pass gives.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Class scores [b, classes]; for a distilled model the mean of both heads.
    pub logits: Value,
    /// What the head reads [b, d]: the normed class token, or the normed mean of the patch tokens.
    pub features: Value,
}

/// Parameters as the network reads them, by timm's names.
struct Params(HashMap<String, Value>);

impl Params {
    fn get(&self, name: &str) -> Result<Value> {
        let found = self.0.get(name).copied();
        found.ok_or_else(|| Error::new("vit", "the model has no such parameter").with("parameter", name))
    }
}

/// What names of the patch embedding's parameters begin with.
const PATCH_EMBED: &str = "patch_embed.";

/// Whether a parameter of that name belongs to a head.
fn is_head(name: &str) -> bool {
    name.starts_with("head.") || name.starts_with("head_dist.")
}

/// Names and specs of the wanted parameters.
fn entries(config: &VitConfig, dtype: DType, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Spec)>> {
    let parameters = config.parameters().into_iter().filter(|(name, _)| wanted(name));
    parameters.map(|(name, dims)| Ok((name, Spec::new(dtype, &dims)?))).collect()
}

impl Vit {
    /// Puts parameters (timm's names, any float type) into `store` as a group of `dtype` called `name`.
    ///
    /// # Errors
    /// The configuration is not sound, or a parameter is missing or has another shape.
    pub fn new(
        store: &mut Store,
        name: &str,
        config: VitConfig,
        tensors: &[(String, Tensor)],
        dtype: DType,
    ) -> Result<Self> {
        config.validate()?;
        let params = store.group(name, Role::Parameter, &entries(&config, dtype, |_| true)?)?;
        let vit = Self { config, params, frozen: None };
        vit.write(store, tensors)?;
        Ok(vit)
    }

    /// As [`Vit::new`], with the head alone in the group `name`; everything else is read and never trained.
    ///
    /// # Errors
    /// As [`Vit::new`]; a model without a head.
    pub fn with_frozen_backbone(
        store: &mut Store,
        name: &str,
        config: VitConfig,
        tensors: &[(String, Tensor)],
        dtype: DType,
    ) -> Result<Self> {
        config.validate()?;
        if config.classes == 0 {
            return Err(
                Error::new("vit", "a model without a head has nothing but its backbone").help("give it classes")
            );
        }
        let params = store.group(name, Role::Parameter, &entries(&config, dtype, is_head)?)?;
        let frozen = entries(&config, dtype, |name| !is_head(name))?;
        let frozen = Some(store.group(&format!("{name} frozen"), Role::Parameter, &frozen)?);
        let vit = Self { config, params, frozen };
        vit.write(store, tensors)?;
        Ok(vit)
    }

    /// Overwrites all parameters.
    ///
    /// # Errors
    /// A parameter is missing or has another shape.
    pub fn write(&self, store: &mut Store, tensors: &[(String, Tensor)]) -> Result<()> {
        for (name, dims) in self.config.parameters() {
            let tensor = tensors.iter().find(|(other, _)| *other == name).map(|(_, tensor)| tensor);
            let Some(tensor) = tensor.filter(|tensor| tensor.dims() == dims) else {
                return Err(Error::new("vit", "a parameter is missing or has another shape")
                    .with("parameter", &name)
                    .with("expected", format!("{dims:?}"))
                    .with("found", tensor.map_or("nothing".to_owned(), |tensor| tensor.spec().to_string())));
            };
            let group = self.frozen.filter(|_| !is_head(&name)).unwrap_or(self.params);
            let var = store.find(group, &name)?;
            let fitting = match store.spec(var)?.dtype {
                DType::F64 => tensor.cast::<f64>()?,
                _ => tensor.cast::<f32>()?,
            };
            store.write(var, &fitting)?;
        }
        Ok(())
    }

    /// The parameters as they are now, under timm's names and in its order.
    ///
    /// # Errors
    /// The device failed.
    pub fn tensors(&self, store: &Store) -> Result<Vec<(String, Tensor)>> {
        self.tensors_with(store, self.params)
    }

    /// As [`Vit::tensors`], with those that are trained from a group of their layout: an average.
    ///
    /// # Errors
    /// The group has another layout.
    pub fn tensors_with(&self, store: &Store, trained: Group) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = match self.frozen {
            Some(frozen) => self.tensors_of(store, frozen)?,
            None => Vec::new(),
        };
        // Heads come last in timm's order.
        tensors.extend(self.tensors_of(store, trained)?);
        Ok(tensors)
    }

    /// The values of a group that is laid out as the trained parameters, or as the frozen ones.
    ///
    /// # Errors
    /// The group has another layout.
    pub fn tensors_of(&self, store: &Store, group: Group) -> Result<Vec<(String, Tensor)>> {
        store.vars(group)?.into_iter().map(|(name, var)| Ok((name.to_owned(), store.read(var)?))).collect()
    }

    /// What the model is.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// The group of its parameters; of those that are trained, where the others are frozen.
    pub fn params(&self) -> Group {
        self.params
    }

    /// The group of the parameters that are not trained, where there are such.
    pub fn frozen(&self) -> Option<Group> {
        self.frozen
    }

    /// The same architecture over another group of parameters with the same layout.
    #[must_use]
    pub fn with_params(&self, params: Group) -> Self {
        Self { params, ..self.clone() }
    }

    /// Normalises and embeds images [b, c, h, w] in [0, 1] -> patch tokens [b, p, d].
    ///
    /// # Errors
    /// The images do not have the model's shape.
    pub fn embed(&self, tape: &mut Tape, store: &Store, images: Value) -> Result<Value> {
        let config = &self.config;
        let [_, channels, height, width] = tape.spec(images)?.array("vit", "images")?;
        if [height, width] != config.image || channels != config.channels {
            return Err(Error::new("vit", "the images do not have the model's shape")
                .with("images", tape.spec(images)?)
                .with("model", format!("[b, {}, {}, {}]", config.channels, config.image[0], config.image[1]))
                .help("resize the images, or adapt the model: --image-size, --channels"));
        }
        let params = &self.read(tape, store, |name| name.starts_with(PATCH_EMBED))?;
        tape.scope("patch_embed", |tape| {
            let x = normalise(tape, images, &config.normalisation.mean, &config.normalisation.std)?;
            let weight = params.get("patch_embed.proj.weight")?;
            let bias = params.get("patch_embed.proj.bias")?;
            let storage = tape.spec(weight)?.dtype;
            let x = cast(tape, x, storage)?;
            patch_embed(tape, x, weight, Some(bias)) // [b, p, d]
        })
    }

    /// What noise [1, c, h, w] on the normalised images adds to every image's patch tokens: [1, p, d], for [`Run::noise`]. The
    /// embedding is affine, so that noise on the images and this noise on their tokens are the same.
    ///
    /// # Errors
    /// The noise does not have the shape of an image of the model's.
    pub fn embed_noise(&self, tape: &mut Tape, store: &Store, noise: Value) -> Result<Value> {
        let params = &self.read(tape, store, |name| name.starts_with(PATCH_EMBED))?;
        tape.scope("patch_embed", |tape| {
            let weight = params.get("patch_embed.proj.weight")?;
            let noise = self.stored(tape, store, noise)?;
            patch_embed(tape, noise, weight, None) // [1, p, d]
        })
    }

    /// Runs prefix tokens, position embedding, blocks, norm and head over patch tokens [b, p, d].
    ///
    /// # Errors
    /// A stochastic part is on and `run.random` is not there.
    pub fn encode(&self, tape: &mut Tape, store: &Store, patches: Value, run: &Run) -> Result<Output> {
        let config = &self.config;
        let params = &self.read(tape, store, |name| !name.starts_with(PATCH_EMBED))?;
        let optional = |present: bool, name: &str| present.then(|| params.get(name)).transpose();
        let mut x = tape.scope("tokens", |tape| {
            let parts = Parts {
                class: optional(config.class_token, "cls_token")?,
                distillation: optional(config.distilled, "dist_token")?,
                registers: optional(config.register_tokens > 0, "reg_token")?,
                position: Some(params.get("pos_embed")?),
                noise: run.noise.map(|noise| self.stored(tape, store, noise)).transpose()?,
            };
            tokens(tape, patches, parts) // [b, n, d]
        })?;
        for block in 0..config.depth {
            x = tape.scope(format!("blocks.{block}"), |tape| self.block(tape, params, x, block, run))?;
        }
        self.head(tape, params, x)
    }

    /// Images [b, c, h, w] in [0, 1] to logits and features.
    ///
    /// # Errors
    /// As [`Vit::embed`] and [`Vit::encode`].
    pub fn forward(&self, tape: &mut Tape, store: &Store, images: Value, run: &Run) -> Result<Output> {
        let patches = self.embed(tape, store, images)?;
        self.encode(tape, store, patches, run)
    }

    /// Parameters as the network reads them, all in a row: a device that casts them does so in few launches.
    fn read(&self, tape: &mut Tape, store: &Store, wanted: impl Fn(&str) -> bool) -> Result<Params> {
        tape.scope("parameters", |tape| {
            let mut vars = self.frozen.map(|frozen| store.vars(frozen)).transpose()?.unwrap_or_default();
            vars.extend(store.vars(self.params)?);
            let values = vars.into_iter().filter(|(name, _)| wanted(name)).map(|(name, var)| {
                let value = tape.var(store, var)?;
                Ok((name.to_owned(), self.stored(tape, store, value)?))
            });
            Ok(Params(values.collect::<Result<_>>()?))
        })
    }

    /// A value as the network reads it: in the device's storage, where it is f32.
    fn stored(&self, tape: &mut Tape, store: &Store, value: Value) -> Result<Value> {
        if tape.spec(value)?.dtype == DType::F32 { cast(tape, value, store.device().storage()) } else { Ok(value) }
    }

    fn norm(&self, tape: &mut Tape, params: &Params, x: Value, name: &str) -> Result<Value> {
        let weight = params.get(&format!("{name}.weight"))?;
        let bias = params.get(&format!("{name}.bias"))?;
        #[expect(clippy::cast_possible_truncation, reason = "1e-5 or 1e-12: any float will do")]
        let eps = self.config.norm_eps as f32;
        layer_norm(tape, x, weight, bias, eps)
    }

    fn dense(
        &self,
        tape: &mut Tape,
        params: &Params,
        x: Value,
        name: &str,
        bias: bool,
        activation: Option<kernels::activation::Activation>,
    ) -> Result<Value> {
        let weight = params.get(&format!("{name}.weight"))?;
        let bias = bias.then(|| params.get(&format!("{name}.bias"))).transpose()?;
        linear(tape, x, weight, bias, activation)
    }

    fn block(&self, tape: &mut Tape, params: &Params, x: Value, block: usize, run: &Run) -> Result<Value> {
        let name = format!("blocks.{block}");
        let attended = tape.scope("attn", |tape| {
            let y = self.norm(tape, params, x, &format!("{name}.norm1"))?;
            let qkv = self.dense(tape, params, y, &format!("{name}.attn.qkv"), self.config.qkv_bias, None)?;
            let y = attention(tape, qkv, self.config.heads)?; // [b, n, h d]
            let y = self.dense(tape, params, y, &format!("{name}.attn.proj"), true, None)?;
            let y = match run.gate {
                Some(keep) => grad_gate(tape, y, random(run)?.state, keep, &format!("{}{name}.ard", run.tag))?,
                None => y,
            };
            self.join(tape, params, x, y, block, "1", run)
        })?;
        tape.scope("mlp", |tape| {
            let y = self.norm(tape, params, attended, &format!("{name}.norm2"))?;
            let y = self.hidden(tape, params, y, &name, run)?; // [b, n, mlp]
            let y = self.dense(tape, params, y, &format!("{name}.mlp.fc2"), true, None)?;
            self.join(tape, params, attended, y, block, "2", run)
        })
    }

    /// First half of the MLP: linear, stochastic layer where configured, activation.
    fn hidden(&self, tape: &mut Tape, params: &Params, x: Value, name: &str, run: &Run) -> Result<Value> {
        let activation = match self.config.activation {
            Activation::Gelu => kernels::activation::Activation::Gelu,
            Activation::Relu => kernels::activation::Activation::Relu,
        };
        let fc1 = format!("{name}.mlp.fc1");
        match &self.config.stochastic {
            Some(stochastic) if run.stochastic => {
                let y = self.dense(tape, params, x, &fc1, true, None)?;
                let y = self.stochastic(tape, y, stochastic, name, run)?;
                kernels::activation::activation(tape, y, activation)
            }
            _ => self.dense(tape, params, x, &fc1, true, Some(activation)),
        }
    }

    fn stochastic(&self, tape: &mut Tape, x: Value, stochastic: &Stochastic, name: &str, run: &Run) -> Result<Value> {
        let random = random(run)?;
        layer(tape, x, stochastic, random.state, random.ids, &format!("{}{name}.mlp.stochastic", run.tag))
    }

    /// x + ls(drop_path(branch)).
    fn join(
        &self,
        tape: &mut Tape,
        params: &Params,
        x: Value,
        branch: Value,
        block: usize,
        which: &str,
        run: &Run,
    ) -> Result<Value> {
        let name = format!("blocks.{block}");
        let gamma = self.config.layer_scale.then(|| params.get(&format!("{name}.ls{which}.gamma")));
        let gamma = gamma.transpose()?;
        let rate = self.config.drop_path_at(block);
        if !run.drop_path || rate == 0.0 {
            return residual(tape, x, branch, gamma);
        }
        // Dropping before LayerScale equals dropping after it: both multiply.
        let random = random(run)?;
        let stream = format!("{}{name}.drop_path{which}", run.tag);
        let branch = drop_path(tape, branch, random.state, random.ids, rate, &stream)?;
        residual(tape, x, branch, gamma)
    }

    fn head(&self, tape: &mut Tape, params: &Params, x: Value) -> Result<Output> {
        let config = &self.config;
        tape.scope("head", |tape| {
            let (features, distilled) = match config.pool {
                Pool::Mean => {
                    let pooled = pool(tape, x, kernels::pool::Pool::Mean { skip: config.prefix_tokens() })?;
                    (self.norm(tape, params, pooled, config.final_norm())?, None)
                }
                Pool::Token => {
                    // LayerNorm works row by row: norming the tokens that are read gives the same values as norming all.
                    let class = pool(tape, x, kernels::pool::Pool::Token(0))?;
                    let class = self.norm(tape, params, class, config.final_norm())?;
                    let distilled = match config.distilled {
                        true => {
                            let token = pool(tape, x, kernels::pool::Pool::Token(1))?;
                            Some(self.norm(tape, params, token, config.final_norm())?)
                        }
                        false => None,
                    };
                    (class, distilled)
                }
            };
            // Losses read f32 (or f64, which nothing narrows).
            let wide = |tape: &mut Tape, value| {
                let dtype = tape.spec(value)?.dtype.wide();
                cast(tape, value, dtype)
            };
            let full = wide(tape, features)?;
            if config.classes == 0 {
                return Ok(Output { logits: full, features: full });
            }
            let mut logits = self.dense(tape, params, features, "head", true, None)?;
            if let Some(distilled) = distilled {
                let other = self.dense(tape, params, distilled, "head_dist", true, None)?;
                logits = combine(tape, &[(0.5, logits), (0.5, other)])?;
            }
            Ok(Output { logits: wide(tape, logits)?, features: full })
        })
    }
}

fn random(run: &Run) -> Result<Random> {
    run.random.ok_or_else(|| Error::new("vit", "a stochastic part needs a random state").help("set Run::random"))
}
