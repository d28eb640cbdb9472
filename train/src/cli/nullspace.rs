//! `vitrum nullspace`

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::{Device, Error, Result, Tensor};
use models::tensor_file::{self, TensorFile};
use models::{Loaded, VitConfig};
use serde::Serialize;
use train::data::Dataset;
use train::nullspace::exact::{Block, Nullspace, Tolerance, permuted};

use super::args::{DataDetails, ModelArgs, positive};
use super::common::Common;
use super::images::{Images, check_output, read_images};
use super::predict::Predictor;
use super::screen::Screen;

/// Compute the exact nullspace of a model's patch embedding, draw noise from it, and check that the model can't see it
///
/// The check adds noise v from the nullspace to images x and compares the logits of x + v with those of x, beside a control: the same
/// values in permuted order. x + v is not clipped to [0, 1].
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum nullspace --weights vit.safetensors --linf 0.5 --sample 16 --out noise.safetensors"
)]
pub struct Args {
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
    /// Images of the check: safetensors with `images` [n, c, h, w] in [0, 1]
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    input: Option<PathBuf>,
    /// Images of the check: `synthetic` or a folder, as for `vitrum eval`
    #[arg(long, value_name = "SPEC", default_value = "synthetic")]
    data: String,
    #[command(flatten)]
    how: DataDetails,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    model: ModelArgs,
}

/// Images of the check where no flag says how many.
const CHECKED: usize = 16;

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

/// What noise does to logits.
#[derive(Serialize)]
struct Change {
    /// Largest absolute change of a logit.
    max: f64,
    /// Mean absolute change.
    mean: f64,
    /// Images whose most probable class changes.
    flipped: usize,
}

#[derive(Serialize)]
struct Check {
    images: usize,
    linf: f64,
    /// Largest absolute logit on the images themselves, for scale.
    largest_logit: f64,
    nullspace: Change,
    permuted: Change,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        if let Some(out) = &self.out {
            let inputs = [self.input.as_deref(), self.model.weights.as_deref()];
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

    fn images(&self, config: &VitConfig, seed: u64) -> Result<Images> {
        if let Some(input) = &self.input {
            return read_images(&TensorFile::open(input)?, config);
        }
        let data = self.how.open(&self.data, config, seed)?;
        let count = if self.how.limit.is_some() { data.len() } else { data.len().min(CHECKED) };
        pixels(&data.subset(0..count)?)
    }

    fn check(&self, device: &Device, nullspace: &Nullspace, loaded: &Loaded, seed: u64) -> Result<Check> {
        let config = &loaded.config;
        let images = self.images(config, seed)?;
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
        let mut logits =
            |pixels: Vec<f32>| predictor.predict(&Images { count: images.count, pixels }).map(|o| o.logits);
        let (noisy, control, clean) = (logits(noisy)?, logits(control)?, logits(images.pixels.clone())?);
        let largest_logit = clean.to_f64().into_iter().fold(0.0_f64, |most, z| most.max(z.abs()));
        Ok(Check {
            images: images.count,
            linf: self.linf,
            largest_logit,
            nullspace: change(&clean, &noisy),
            permuted: change(&clean, &control),
        })
    }
}

/// Every image of a set, [n, c, h, w].
fn pixels(data: &Dataset) -> Result<Images> {
    let mut pixels = vec![0.0; data.len() * data.volume()];
    for (index, image) in pixels.chunks_exact_mut(data.volume()).enumerate() {
        data.image_f32(index, image)?;
    }
    Ok(Images { count: data.len(), pixels })
}

fn change(clean: &Tensor, other: &Tensor) -> Change {
    let classes = clean.spec().shape.last().max(1);
    let (clean, other) = (clean.to_f64(), other.to_f64());
    let differences = || clean.iter().zip(&other).map(|(a, b)| (a - b).abs());
    let best = |row: &[f64]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class);
    #[expect(clippy::cast_precision_loss, reason = "a count of logits")]
    let count = clean.len().max(1) as f64;
    Change {
        max: differences().fold(0.0, f64::max),
        mean: differences().sum::<f64>() / count,
        flipped: clean.chunks(classes).zip(other.chunks(classes)).filter(|(a, b)| best(a) != best(b)).count(),
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
    let heading = ["noise", "largest change of a logit", "mean change", "predictions changed"];
    let row = |name: &str, change: &Change| {
        let (max, mean) = (format!("{:.3e}", change.max), format!("{:.3e}", change.mean));
        vec![name.to_owned(), max, mean, change.flipped.to_string()]
    };
    screen.table(&[
        heading.map(str::to_owned).to_vec(),
        row("from the nullspace", &check.nullspace),
        row("the same, permuted", &check.permuted),
    ])
}

fn tolerance(text: &str) -> Result<Tolerance> {
    let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    let parsed = match (text, text.split_once(':')) {
        ("f32", _) => Some(Tolerance::F32),
        ("f64", _) => Some(Tolerance::F64),
        (_, Some(("rel", value))) => number(value).map(Tolerance::Relative),
        (_, Some(("abs", value))) => number(value).map(Tolerance::Absolute),
        _ => None,
    };
    parsed.ok_or_else(|| {
        Error::new("tolerance", "unknown rule").with("given", text).help("f32, f64, rel:1e-6 or abs:1e-6")
    })
}

fn norm(text: &str) -> Result<f64> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| Error::new("size", "must be a finite number of 0 or more").with("given", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_rules_or_numbers() {
        assert_eq!(tolerance("f64").unwrap(), Tolerance::F64);
        assert_eq!(tolerance("rel:1e-6").unwrap(), Tolerance::Relative(1e-6));
        assert_eq!(tolerance("abs:0").unwrap(), Tolerance::Absolute(0.0));
        for text in ["", "f16", "rel:", "rel:-1", "abs:nan", "1e-6"] {
            assert!(tolerance(text).is_err(), "{text}");
        }
    }

    #[test]
    fn changes_are_measured_per_image() {
        let tensor = |values: &[f32]| Tensor::new(&[2, 2], values).unwrap();
        let found = change(&tensor(&[1.0, 0.0, 0.0, 1.0]), &tensor(&[1.0, 0.5, 2.0, 1.0]));
        assert_eq!((found.max, found.mean, found.flipped), (2.0, 0.625, 1));
    }
}
