//! `vitrum nullspace` without a further word: spectrum, random noise, and what the model sees of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::{Device, Error, Result, Tensor};
use models::tensor_file;
use models::{Loaded, VitConfig};
use serde::Serialize;
use train::nullspace::exact::{Block, Nullspace, Tolerance, permuted};
use train::nullspace::influence::Influence;

use super::super::args::{ModelArgs, positive};
use super::super::common::Common;
use super::super::images::check_output;
use super::super::predict::Predictor;
use super::super::screen::Screen;
use super::{Source, influences, logits, norm, tolerance};

/// Flags of the spectrum and of random noise.
#[derive(clap::Args)]
pub struct Sample {
    /// Singular values up to this count as null: f32 or f64 (largest value x machine epsilon x larger side), rel:X (largest value x X), abs:X
    #[arg(long, value_name = "RULE", default_value = "f32", value_parser = tolerance)]
    tolerance: Tolerance,
    /// Largest absolute value of the noise in every patch, images lying in [0, 1]
    #[arg(long, value_name = "SIZE", default_value_t = 0.1, value_parser = norm)]
    linf: f64,
    /// Draw noise for so many images into --out
    #[arg(long, value_name = "N", requires = "out", value_parser = positive)]
    sample: Option<usize>,
    /// safetensors to write: `noise` [n, c, h, w] if drawn, `basis` f64 [columns, nullity], `singular` f64
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    model: ModelArgs,
}

/// A nullspace in figures.
#[derive(Serialize)]
struct Summary {
    columns: usize,
    rank: usize,
    nullity: usize,
    /// |W N| at most, for the orthonormal basis N.
    residual: f64,
    blocks: Vec<BlockSummary>,
}

#[derive(Serialize)]
struct BlockSummary {
    columns: [usize; 2],
    rank: usize,
    tolerance: f64,
    singular: Vec<f64>,
}

#[derive(Serialize)]
struct Check {
    images: usize,
    linf: f64,
    /// Largest absolute logit on the images themselves, for scale.
    largest_logit: f64,
    nullspace: Influence,
    permuted: Influence,
}

impl Sample {
    pub fn run(&self, common: &Common) -> Result<()> {
        if let Some(out) = &self.out {
            let inputs = [self.source.input.as_deref(), self.model.weights.as_deref()];
            check_output(out, &inputs.into_iter().flatten().collect::<Vec<_>>())?;
        }
        let loaded = self.model.load()?;
        let weight = loaded.tensor("patch_embed.proj.weight")?;
        let dims = weight.spec().array("nullspace", "patch embedding")?;
        let weight = weight.to_f64();
        let full = Nullspace::full(&weight, dims, self.tolerance)?;
        let per_channel = Nullspace::per_channel(&weight, dims, self.tolerance)?;
        let screen = common.screen();
        let summaries = [summary(&full, &weight)?, summary(&per_channel, &weight)?];
        show(&screen, dims, &summaries)?;
        if let Some(out) = &self.out {
            self.write(out, &full, &loaded.config, common.seed)?;
            screen.line(format_args!("written: {}", out.display()))?;
        }
        let check = if full.nullity() > 0 {
            Some(self.check(&common.device()?, &full, &loaded, common.seed)?)
        } else {
            screen.line("the nullspace is empty: the patch embedding loses nothing, and there is nothing to check")?;
            None
        };
        if let Some(check) = &check {
            show_check(&screen, check)?;
        }
        let [full, per_channel] = &summaries;
        screen.json(&serde_json::json!({ "full": full, "per_channel": per_channel, "check": check, "out": self.out }))
    }

    fn write(&self, out: &std::path::Path, nullspace: &Nullspace, config: &VitConfig, seed: u64) -> Result<()> {
        let singular: Vec<f64> = nullspace.blocks().iter().flat_map(|block| block.singular.iter().copied()).collect();
        let mut tensors = vec![("basis", nullspace.basis()?), ("singular", Tensor::new(&[singular.len()], &singular)?)];
        if let Some(count) = self.sample {
            let mut noise = Vec::new();
            for index in 0..count {
                noise.extend(self.noise(nullspace, config, seed, index)?);
            }
            let dims = [count, config.channels, config.image[0], config.image[1]];
            tensors.push(("noise", Tensor::new(&dims, &noise)?));
        }
        tensor_file::write(out, tensors.iter().map(|(name, tensor)| (*name, tensor)), &BTreeMap::new())
    }

    fn noise(&self, nullspace: &Nullspace, config: &VitConfig, seed: u64, index: usize) -> Result<Vec<f32>> {
        let index = u32::try_from(index).map_err(|_| Error::new("--sample", "too many images"))?;
        nullspace.image_noise(seed, index, self.linf, config.image, &config.normalisation.std)
    }

    fn check(&self, device: &Device, nullspace: &Nullspace, loaded: &Loaded, seed: u64) -> Result<Check> {
        let config = &loaded.config;
        let images = self.source.images(config, seed)?;
        let (mut noisy, mut control) = (images.pixels.clone(), images.pixels.clone());
        let volume = images.pixels.len() / images.count;
        let rows = noisy.chunks_exact_mut(volume).zip(control.chunks_exact_mut(volume));
        for (index, (noisy, control)) in rows.enumerate() {
            let noise = self.noise(nullspace, config, seed, index)?;
            noisy.iter_mut().zip(&noise).for_each(|(pixel, v)| *pixel += v);
            let order = permuted(&noise, seed, u32::try_from(index).unwrap_or(u32::MAX));
            control.iter_mut().zip(&order).for_each(|(pixel, v)| *pixel += v);
        }
        let mut predictor = Predictor::new(device, loaded, self.batch.min(images.count), seed)?;
        let clean = logits(&mut predictor, images.pixels)?;
        let mut influence = |pixels: Vec<f32>| clean.compare(&logits(&mut predictor, pixels)?);
        let (nullspace, permuted) = (influence(noisy)?, influence(control)?);
        Ok(Check { images: images.count, linf: self.linf, largest_logit: clean.largest(), nullspace, permuted })
    }
}

fn summary(nullspace: &Nullspace, weight: &[f64]) -> Result<Summary> {
    let block = |block: &Block| BlockSummary {
        columns: [block.columns.start, block.columns.end],
        rank: block.rank,
        tolerance: block.tolerance,
        singular: block.singular.clone(),
    };
    Ok(Summary {
        columns: nullspace.columns(),
        rank: nullspace.rank(),
        nullity: nullspace.nullity(),
        residual: nullspace.residual(weight)?,
        blocks: nullspace.blocks().iter().map(block).collect(),
    })
}

fn show(screen: &Screen, dims: [usize; 4], summaries: &[Summary; 2]) -> Result<()> {
    let [d, c, p, _] = dims;
    screen.line(format_args!("patch embedding [{d}, {c}, {p}, {p}]: {} columns, {d} rows", c * p * p))?;
    let heading = ["nullspace", "columns", "rank", "nullity", "largest s", "smallest s kept", "tolerance"];
    let mut table = vec![heading.map(str::to_owned).to_vec()];
    let [full, per_channel] = summaries;
    let mut add = |name: String, block: &BlockSummary| {
        let kept = block.rank.checked_sub(1).and_then(|last| block.singular.get(last)).copied().unwrap_or(0.0);
        let [start, end] = block.columns;
        let counts = [end - start, block.rank, end - start - block.rank].map(|count| count.to_string());
        let values = [block.singular.first().copied().unwrap_or(0.0), kept, block.tolerance];
        table.push([name].into_iter().chain(counts).chain(values.map(|value| format!("{value:.4e}"))).collect());
    };
    full.blocks.iter().for_each(|block| add("full".to_owned(), block));
    for (channel, block) in per_channel.blocks.iter().enumerate() {
        add(format!("channel {channel}"), block);
    }
    screen.table(&table)?;
    screen.line(format_args!("largest entry of W N: {:.1e}", full.residual))
}

fn show_check(screen: &Screen, check: &Check) -> Result<()> {
    screen.line(format_args!(
        "\nnoise of {} per patch on {} images (largest logit {:.2}):",
        check.linf, check.images, check.largest_logit
    ))?;
    influences(screen, &[("from the nullspace", &check.nullspace), ("the same, permuted", &check.permuted)])
}
