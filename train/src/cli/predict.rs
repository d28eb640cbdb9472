//! `vitrum predict`

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::{Device, Result, Tensor};
use models::Loaded;
use models::tensor_file::{self, TensorFile};
use train::eval::accuracy::Evaluator;
use train::eval::sanity;

use super::args::{ModelArgs, positive};
use super::common::Common;
use super::images::{Images, check_output, padded, read_images};
use super::screen;

/// Write a model's logits, and features if wanted, for images in a file
///
/// The input holds `images`, f32 [n, c, h, w] in [0, 1]; the model normalises. The output holds `logits` [n, classes] and, with
/// --features, what the head reads: `features` [n, width]. Stochastic layers draw by --seed and the image's position.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// safetensors with `images`
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// safetensors to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Write `features` too
    #[arg(long)]
    features: bool,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    model: ModelArgs,
}

const EXAMPLE: &str = "\
Example:
  vitrum predict --weights vit_mnist.safetensors --heads 4 --activation relu --normalize 0.1307/0.3081 \\
      --input digits.safetensors --output logits.safetensors";

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let inputs = [Some(self.input.as_path()), self.model.weights.as_deref()];
        check_output(&self.output, &inputs.into_iter().flatten().collect::<Vec<_>>())?;
        let loaded = self.model.load()?;
        let images = read_images(&TensorFile::open(&self.input)?, &loaded.config)?;
        let mut predictor = Predictor::new(&common.device()?, &loaded, self.batch.min(images.count), common.seed)?;
        let outputs = predictor.predict(&images)?;
        for warning in sanity::check_outputs(outputs.logits.values()?, loaded.config.classes) {
            screen::note(format_args!("warning: {warning}"));
        }
        let mut tensors = vec![("logits", &outputs.logits)];
        if self.features {
            tensors.push(("features", &outputs.features));
        }
        tensor_file::write(&self.output, tensors, &BTreeMap::new())?;
        let screen = common.screen();
        screen.line(format_args!("{} images\nwritten: {}", images.count, self.output.display()))?;
        screen.json(&serde_json::json!({
            "output": self.output,
            "images": images.count,
            "classes": loaded.config.classes,
        }))
    }
}

/// A model that takes any number of images.
pub struct Predictor {
    evaluator: Evaluator,
    batch: usize,
}

/// What a model says of n images.
pub struct Outputs {
    /// [n, classes]
    pub logits: Tensor,
    /// [n, d]
    pub features: Tensor,
}

impl Predictor {
    pub fn new(device: &Device, loaded: &Loaded, batch: usize, seed: u64) -> Result<Self> {
        Ok(Self { evaluator: Evaluator::new(device, &loaded.config, &loaded.tensors, batch, 1, seed)?, batch })
    }

    /// Batch after batch; the last one is filled up with black images.
    pub fn predict(&mut self, images: &Images) -> Result<Outputs> {
        let volume = images.pixels.len() / images.count;
        let (mut logits, mut features) = (Vec::new(), Vec::new());
        for (at, pixels) in images.pixels.chunks(self.batch * volume).enumerate() {
            let count = pixels.len() / volume;
            let first = at * self.batch;
            let ids: Vec<u32> = (first..first + self.batch).map(|id| u32::try_from(id).unwrap_or(u32::MAX)).collect();
            let (z, f) = self.evaluator.predict(&padded(pixels, self.batch * volume, 0.0), &ids)?;
            logits.extend_from_slice(rows(&z, count)?);
            features.extend_from_slice(rows(&f, count)?);
        }
        let matrix = |values: &[f32]| Tensor::new(&[images.count, values.len() / images.count], values);
        Ok(Outputs { logits: matrix(&logits)?, features: matrix(&features)? })
    }
}

/// The first `count` rows.
fn rows(tensor: &Tensor, count: usize) -> Result<&[f32]> {
    let values = tensor.values::<f32>()?;
    Ok(values.get(..count * tensor.spec().shape.last()).unwrap_or(values))
}
