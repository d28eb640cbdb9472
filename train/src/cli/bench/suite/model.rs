//! Whole steps of Vision Transformers.

use std::sync::Arc;

use engine::{DType, Device, Error, Result, Role, Spec, Store, Tape, Tensor};
use models::vit::Run;
use models::{Distribution, Normalisation, Sharing, Stochastic, StochasticLayer, Vit, VitConfig, registry};
use train::data::{Augment, Dataset, Loader};
use train::recipe::{Method, Optimizer, Recipe, Schedule};
use train::trainer::Trainer;

use super::build::Ready;
use super::noise::Noise;
use super::shapes::{Model, Pass};
use crate::cli::bench::steps::pgd10;

/// As timm builds it.
pub fn config(model: Model) -> Result<VitConfig> {
    let Model { image, patch, width, depth, heads, classes, scaled } = model;
    let base = registry::lookup("vit_tiny_patch16_224")?;
    let normalisation = Normalisation::imagenet();
    let stochastic = scaled.then_some(Stochastic {
        layer: StochasticLayer::Scale,
        distribution: Distribution::Uniform { half_width: 0.5 },
        sharing: Sharing::Batch,
    });
    let (head_width, mlp_width) = (width / heads.max(1), 4 * width);
    let sizes = VitConfig { image: [image, image], patch, width, depth, heads, head_width, mlp_width, ..base };
    Ok(VitConfig { classes, normalisation, stochastic, ..sizes })
}

pub fn ready(device: &Device, config: &VitConfig, batch: usize, pass: Pass, noise: &Noise) -> Result<Ready> {
    let tensors = parameters(config, noise)?;
    match pass {
        Pass::Infer => inference(device, config, batch, &tensors, noise),
        Pass::Pgd10 => training(device, config, batch, &tensors, pgd10(), noise),
        _ => training(device, config, batch, &tensors, Method::Plain, noise),
    }
}

fn parameters(config: &VitConfig, noise: &Noise) -> Result<Vec<(String, Tensor)>> {
    let draw = |(at, (name, dims)): (usize, (String, Vec<usize>))| {
        // The only weights that are vectors are LayerNorm's.
        let mean = if dims.len() == 1 && name.ends_with(".weight") { 1.0 } else { 0.0 };
        let tensor = noise.tensor(Spec::new(DType::F32, &dims)?, at, |x| mean + 0.02 * x)?;
        Ok((name, tensor))
    };
    config.parameters().into_iter().enumerate().map(draw).collect()
}

fn inference(
    device: &Device,
    config: &VitConfig,
    batch: usize,
    tensors: &[(String, Tensor)],
    noise: &Noise,
) -> Result<Ready> {
    let mut store = Store::new(device.clone())?;
    let model = Vit::new(&mut store, "params", config.clone(), tensors, DType::F32)?;
    let spec = Spec::new(DType::F32, &[batch, config.channels, config.image[0], config.image[1]])?;
    let images = store.constant("images", Role::Data, &noise.tensor(spec, 0, |x| x.abs().min(1.0))?)?;
    let mut tape = Tape::new();
    let images = tape.var(&store, images)?;
    let logits = model.forward(&mut tape, &store, images, &Run::default())?.logits;
    let plan = tape.plan_with(&mut store, &[logits], false)?;
    Ok(Ready::Plan { store: Box::new(store), plan: Box::new(plan), phase: None })
}

/// AdamW at a constant rate, on one batch.
fn training(
    device: &Device,
    config: &VitConfig,
    batch: usize,
    tensors: &[(String, Tensor)],
    method: Method,
    noise: &Noise,
) -> Result<Ready> {
    let recipe = Recipe {
        batch,
        lr: 1e-4,
        schedule: Schedule::Constant,
        optimizer: Optimizer::ADAMW,
        clip: None,
        augment: Augment::default(),
        method,
        ..Recipe::default()
    };
    let data = Arc::new(dataset(config, batch, noise)?);
    let mut batches = Loader::evaluation(Arc::clone(&data), batch)?.start(0, 0)?;
    let first = batches.next().ok_or_else(|| Error::new("bench", "the loader made no batch"))??;
    let mut trainer = Trainer::new(device, config, tensors, data, recipe)?;
    // The batch stays in the inputs: what is timed launches steps on it.
    trainer.train_on(&first)?;
    Ok(Ready::Train(Box::new(trainer)))
}

/// One batch of noise.
fn dataset(config: &VitConfig, count: usize, noise: &Noise) -> Result<Dataset> {
    let dims = [config.channels, config.image[0], config.image[1]];
    let words = (count * dims.iter().product::<usize>()).div_ceil(4);
    let mut bytes = noise.tensor(Spec::new(DType::F32, &[words])?, 0, scattered)?.bytes().to_vec();
    bytes.truncate(count * dims.iter().product::<usize>());
    let classes = i32::try_from(config.classes.max(1)).unwrap_or(i32::MAX);
    let labels = (0..count).map(|i| i32::try_from(i).unwrap_or(0) % classes).collect();
    Dataset::new("noise", dims, bytes, labels, (0..config.classes).map(|class| class.to_string()).collect())
}

/// A float whose four bytes are those of a hash of `value`: four random pixels.
fn scattered(value: f32) -> f32 {
    let mixed = value.to_bits().wrapping_mul(0x9e37_79b9);
    f32::from_bits((mixed ^ (mixed >> 15)).wrapping_mul(0x85eb_ca6b))
}
