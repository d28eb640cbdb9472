//! `vitrum nullspace`: noise from the exact nullspace of the patch embedding.

mod max;
mod pullback;
mod sample;
mod transfer;
mod watermark;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use engine::{Error, Result, Tensor};
use models::tensor_file::TensorFile;
use models::{Loaded, VitConfig};
use train::data::Dataset;
use train::nullspace::exact::Tolerance;
use train::nullspace::influence::Influence;
use train::nullspace::patches::{Patches, Split};
use train::report::picture::png;

use super::args::DataDetails;
use super::common::Common;
use super::images::{Images, read_images};
use super::predict::Predictor;
use super::screen::Screen;

/// Compute the exact nullspace of a model's patch embedding, draw noise from it, and check that the model can't see it
///
/// The check adds noise v from the nullspace to images x and compares the logits of x + v with those of x, beside a control: the same
/// values in permuted order. x + v is not clipped to [0, 1]; `max` and `watermark` keep it there.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    sample: sample::Sample,
}

const EXAMPLE: &str = "\
Example:
  vitrum nullspace --weights vit.safetensors --linf 0.5 --sample 16 --out noise.safetensors
  vitrum nullspace max --weights vit.safetensors --data cifar-10-batches-bin --search l1 --out largest
  vitrum nullspace watermark --weights vit.safetensors --data cifar-10-batches-bin --source 3 --target 8 --out mark";

#[derive(Subcommand)]
enum What {
    Max(max::Args),
    Watermark(watermark::Args),
    Pullback(pullback::Args),
    Transfer(transfer::Args),
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        match &self.what {
            None => self.sample.run(common),
            Some(What::Max(args)) => args.run(common),
            Some(What::Watermark(args)) => args.run(common),
            Some(What::Pullback(args)) => args.run(common),
            Some(What::Transfer(args)) => args.run(common),
        }
    }
}

/// Which images.
#[derive(clap::Args)]
struct Source {
    /// Images: safetensors with `images` [n, c, h, w] in [0, 1]
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    input: Option<PathBuf>,
    /// Images: `synthetic` or a folder, as for `vitrum eval`
    #[arg(long, value_name = "SPEC", default_value = "synthetic")]
    data: String,
    #[command(flatten)]
    how: DataDetails,
}

/// Images where no flag says how many.
const COUNT: usize = 16;

impl Source {
    /// The images of --input; else the first ones of the data, 16 without --limit.
    fn images(&self, config: &VitConfig, seed: u64) -> Result<Images> {
        if let Some(input) = &self.input {
            return read_images(&TensorFile::open(input)?, config);
        }
        let data = self.how.open(&self.data, config, seed)?;
        let count = if self.how.limit.is_some() { data.len() } else { data.len().min(COUNT) };
        pixels(&data.subset(0..count)?)
    }

    /// The image at a position in --input or in the data.
    fn image(&self, config: &VitConfig, seed: u64, at: usize) -> Result<Vec<f32>> {
        let missing =
            |count: usize| Error::new("nullspace", "there is no such image").with("position", at).with("images", count);
        if let Some(input) = &self.input {
            let images = read_images(&TensorFile::open(input)?, config)?;
            let volume = images.pixels.len() / images.count;
            let image = images.pixels.chunks_exact(volume).nth(at);
            return image.map(<[f32]>::to_vec).ok_or_else(|| missing(images.count));
        }
        let data = self.how.open(&self.data, config, seed)?;
        if at >= data.len() {
            return Err(missing(data.len()));
        }
        Ok(pixels(&data.subset(at..at + 1)?)?.pixels)
    }
}

/// Which part of the nullspace.
#[derive(clap::Args)]
struct Space {
    /// Nullspace of all channels together, or the sum of those of each channel alone, as in the authors' code
    #[arg(long, value_enum, default_value_t = Basis::Full)]
    basis: Basis,
    /// Singular values up to this count as null: f32 or f64 (largest value x machine epsilon x larger side), rel:X, abs:X
    #[arg(long, value_name = "RULE", default_value = "f32", value_parser = tolerance)]
    tolerance: Tolerance,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Basis {
    Full,
    Channel,
}

impl Space {
    fn splits(&self, patches: &Patches) -> Result<Vec<Split>> {
        patches.splits(self.basis == Basis::Channel, self.tolerance)
    }
}

/// The patch embedding of a model, on pixels.
fn embedding(loaded: &Loaded) -> Result<Patches> {
    let weight = loaded.tensor("patch_embed.proj.weight")?;
    let dims = weight.spec().array("nullspace", "patch embedding")?;
    Patches::new(&weight.to_f64(), dims, loaded.config.image, &loaded.config.normalisation.std)
}

/// Every image of a set, [n, c, h, w].
fn pixels(data: &Dataset) -> Result<Images> {
    let mut pixels = vec![0.0; data.len() * data.volume()];
    for (index, image) in pixels.chunks_exact_mut(data.volume()).enumerate() {
        data.image_f32(index, image)?;
    }
    Ok(Images { count: data.len(), pixels })
}

/// Logits [n, classes].
struct Logits {
    values: Vec<f64>,
    classes: usize,
}

/// What a model says of images [n, c, h, w].
fn logits(predictor: &mut Predictor, pixels: Vec<f32>) -> Result<Logits> {
    let tensor: Tensor = predictor.predict(&Images { count: pixels.len() / predictor.volume(), pixels })?.logits;
    Ok(Logits { values: tensor.to_f64(), classes: tensor.spec().shape.last() })
}

impl Logits {
    fn compare(&self, noisy: &Self) -> Result<Influence> {
        Influence::of(&self.values, &noisy.values, self.classes)
    }

    fn largest(&self) -> f64 {
        self.values.iter().fold(0.0_f64, |most, z| most.max(z.abs()))
    }

    /// The most probable class of each image.
    fn predictions(&self) -> Vec<usize> {
        self.values.chunks(self.classes.max(1)).map(train::eval::accuracy::argmax).collect()
    }
}

/// A table of what noises do, by name.
fn influences(screen: &Screen, rows: &[(&str, &Influence)]) -> Result<()> {
    let heading = ["noise", "largest change of a logit", "mean change", "logits MSE", "predictions changed"];
    let row = |(name, influence): &(&str, &Influence)| {
        let values = [influence.max, influence.mean, influence.mse_logits].map(|value| format!("{value:.3e}"));
        [(*name).to_owned()].into_iter().chain(values).chain([influence.flipped.to_string()]).collect()
    };
    let rows: Vec<Vec<String>> =
        std::iter::once(heading.map(str::to_owned).to_vec()).chain(rows.iter().map(row)).collect();
    screen.table(&rows)
}

/// Name of the result file that `vitrum report` shows.
const RESULT: &str = "nullspace.json";

/// Makes the folder and finds out whether `file` and the result file in it can be written.
fn prepare(folder: &Path, file: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", &error))?;
    let path = folder.join(file);
    engine::fs::check_writable(&path)?;
    engine::fs::check_writable(folder.join(RESULT))?;
    Ok(path)
}

/// Writes an image [c, h, w] as PNG: 8 bits, which small noise may not survive.
fn picture(folder: &Path, name: &str, image: &[f32], dims: [usize; 3]) -> Result<()> {
    let bytes = png(image, dims)?;
    engine::fs::write_atomic(folder.join(name), |file| file.write_all(&bytes))
}

/// Shape of a model's images.
fn shape(config: &VitConfig) -> [usize; 3] {
    [config.channels, config.image[0], config.image[1]]
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
}
