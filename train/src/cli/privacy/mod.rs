//! `vitrum privacy`: what a model, its features and its gradients give away.

mod gradients;
mod invert;
mod membership;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use engine::{Error, Result, Tensor};
use models::tensor_file;
use models::{Loaded, VitConfig};
use train::data::Dataset;
use train::privacy::descent::Descent;
use train::privacy::quality::Quality;
use train::report::picture::png;

use super::common::Common;
use super::screen::Screen;

/// Reconstruct images from features or gradients, and tell members of the training set from others
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

const EXAMPLE: &str = "\
Example:
  vitrum privacy invert --weights vit.safetensors --data cifar-10-batches-bin --block 2 --out inverted
  vitrum privacy gradients --weights vit.safetensors --data cifar-10-batches-bin --out leaked
  vitrum privacy membership --weights vit.safetensors --data cifar-10-batches-bin --limit 1000";

#[derive(Subcommand)]
enum What {
    Invert(invert::Args),
    Gradients(gradients::Args),
    Membership(membership::Args),
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        match &self.what {
            What::Invert(args) => args.run(common),
            What::Gradients(args) => args.run(common),
            What::Membership(args) => args.run(common),
        }
    }
}

/// How images descend.
#[derive(clap::Args)]
#[command(next_help_heading = "Descent")]
struct DescentArgs {
    /// Steps
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    steps: u32,
    /// Learning rate of Adam, images lying in [0, 1]; it falls to a tenth after 3/8, 5/8 and 7/8 of the steps
    #[arg(long, value_name = "RATE", default_value_t = 0.1, value_parser = amount)]
    lr: f64,
    /// Weight of the total variation [default: 0.01 for features, 0.2 for gradients]
    #[arg(long, value_name = "WEIGHT", value_parser = amount)]
    tv: Option<f64>,
}

impl DescentArgs {
    fn descent(&self, signed: bool, tv: f64) -> Descent {
        Descent { steps: self.steps, lr: self.lr, tv: self.tv.unwrap_or(tv), signed, decay: true }
    }
}

fn amount(text: &str) -> Result<f64> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| Error::new("amount", "must be a finite number of 0 or more").with("given", text))
}

/// Images and where they come from.
struct Originals {
    /// [n, c, h, w]
    pixels: Vec<f32>,
    ids: Vec<u32>,
    labels: Vec<i32>,
}

fn originals(data: &Dataset) -> Result<Originals> {
    let mut pixels = vec![0.0; data.len() * data.volume()];
    for (index, image) in pixels.chunks_exact_mut(data.volume()).enumerate() {
        data.image_f32(index, image)?;
    }
    let ids = (0..data.len()).map(|id| u32::try_from(id).unwrap_or(u32::MAX)).collect();
    let label = |at| data.label(at);
    Ok(Originals { pixels, ids, labels: (0..data.len()).map(label).collect::<Result<_>>()? })
}

fn shape(config: &VitConfig) -> [usize; 3] {
    [config.channels, config.image[0], config.image[1]]
}

/// Name of the result file that `vitrum report` shows.
const RESULT: &str = "privacy.json";

/// Makes the folder and finds out whether the results can be written there.
fn prepare(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", &error))?;
    let file = folder.join("reconstructed.safetensors");
    engine::fs::check_writable(&file)?;
    engine::fs::check_writable(folder.join(RESULT))?;
    Ok(file)
}

/// At most so many images stand in a strip.
const ACROSS: usize = 16;

/// A PNG of images [n, c, h, w] in rows below one another: originals, then what was found of them.
fn strip(folder: &Path, name: &str, rows: &[&[f32]], [channels, height, width]: [usize; 3]) -> Result<()> {
    let volume = channels * height * width;
    let count = rows.iter().map(|row| row.len() / volume.max(1)).min().unwrap_or(0).min(ACROSS);
    let (down, across) = (rows.len() * height, count * width);
    let pixel = |at: usize| {
        let (channel, y, x) = (at / (down * across), at / across % down, at % across);
        let at = x / width * volume + (channel * height + y % height) * width + x % width;
        rows.get(y / height).and_then(|row| row.get(at)).copied().unwrap_or(0.0)
    };
    let image: Vec<f32> = (0..channels * down * across).map(pixel).collect();
    let bytes = png(&image, [channels, down, across])?;
    engine::fs::write_atomic(folder.join(name), |file| file.write_all(&bytes))
}

/// Writes tensors of images [n, c, h, w].
fn write(file: &Path, named: &[(&str, &[f32])], [c, h, w]: [usize; 3]) -> Result<()> {
    let tensor = |values: &[f32]| Tensor::new(&[values.len() / (c * h * w), c, h, w], values);
    let tensors = named.iter().map(|(name, values)| Ok((*name, tensor(values)?))).collect::<Result<Vec<_>>>()?;
    tensor_file::write(file, tensors.iter().map(|(name, tensor)| (*name, tensor)), &Default::default())
}

/// A table of reconstructions, by name.
fn qualities(screen: &Screen, rows: &[(String, Quality)]) -> Result<()> {
    let heading = ["from", "PSNR", "SSIM", "re-identified"].map(str::to_owned).to_vec();
    let row = |(name, quality): &(String, Quality)| {
        let ssim = quality.mean_ssim.map_or(String::new(), |ssim| format!("{ssim:.4}"));
        let share = quality.reidentified.map_or(String::new(), |share| format!("{:.1}%", 100.0 * share));
        vec![name.clone(), format!("{:.2}", quality.mean_psnr), ssim, share]
    };
    screen.table(&std::iter::once(heading).chain(rows.iter().map(row)).collect::<Vec<_>>())
}

/// The model's depth, for a remedy.
fn check_block(loaded: &Loaded, block: usize) -> Result<()> {
    if block <= loaded.config.depth {
        return Ok(());
    }
    Err(Error::new("--block", "the model has fewer blocks").with("given", block).with("depth", loaded.config.depth))
}
