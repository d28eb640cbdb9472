//! `vitrum gradients`

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::{DType, Device, Error, Group, Plan, Result, Role, Store, Tape, Tensor, Value, Var};
use kernels::cross_entropy::cross_entropy_labels;
use models::tensor_file::{self, TensorFile};
use models::vit::Run;
use models::{Loaded, Vit};
use train::eval::sanity;

use super::args::{ModelArgs, positive};
use super::common::Common;
use super::images::{Images, check_output, padded, read_images, read_labels};
use super::screen;

/// Write the gradients of the mean cross-entropy with respect to images and parameters
///
/// The input holds `images`, f32 [n, c, h, w] in [0, 1], and `labels`, integers `[n]`. The output holds `loss`, `d_images`, and the
/// gradient of each parameter under its timm name.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum gradients --weights vit.safetensors --input batch.safetensors --output gradients.safetensors"
)]
pub struct Args {
    /// safetensors with `images` and `labels`
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// safetensors to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Images computed at once: it changes memory, and results by rounding only
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    model: ModelArgs,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let inputs = [Some(self.input.as_path()), self.model.weights.as_deref()];
        check_output(&self.output, &inputs.into_iter().flatten().collect::<Vec<_>>())?;
        let loaded = self.model.load()?;
        let file = TensorFile::open(&self.input)?;
        let images = read_images(&file, &loaded.config)?;
        let labels = read_labels(&file, images.count, loaded.config.classes)?;
        let mut step = Step::new(&common.device()?, &loaded, self.batch.min(images.count))?;
        let sums = step.sum(&images, &labels)?;
        let volume = images.pixels.len() / images.count;
        for (_, tensor) in sums.tensors.iter().filter(|(name, _)| name == "d_images") {
            for warning in sanity::check_gradients(tensor.values()?, volume).warnings() {
                screen::note(format_args!("warning: {warning}"));
            }
        }
        let named = sums.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        tensor_file::write(&self.output, named, &BTreeMap::new())?;
        let screen = common.screen();
        screen.line(format_args!(
            "loss {:.6} of {} images\nwritten: {}",
            sums.loss,
            images.count,
            self.output.display()
        ))?;
        screen.json(&serde_json::json!({
            "output": self.output,
            "images": images.count,
            "loss": sums.loss,
            "tensors": sums.tensors.len(),
        }))
    }
}

/// One planned batch.
struct Step {
    store: Store,
    model: Vit,
    batch: usize,
    images: Var,
    labels: Var,
    /// Gradient of each sample's loss: 1/n, and 0 for padding.
    shares: Var,
    plan: Plan,
    losses: Value,
    d_images: Value,
    d_params: Value,
    /// Room for the sum of all batches, with the parameters' layout.
    gradients: Group,
}

struct Sums {
    loss: f64,
    tensors: Vec<(String, Tensor)>,
}

impl Step {
    fn new(device: &Device, loaded: &Loaded, batch: usize) -> Result<Self> {
        let config = &loaded.config;
        let mut store = Store::new(device.clone())?;
        let model = Vit::new(&mut store, "params", config.clone(), &loaded.tensors, DType::F32)?;
        let gradients = store.group_like("gradients", Role::Data, model.params())?;
        let images =
            store.data_var("images", DType::F32, &[batch, config.channels, config.image[0], config.image[1]])?;
        let labels = store.data_var("labels", DType::I32, &[batch])?;
        let shares = store.data_var("shares", DType::F32, &[batch])?;
        let mut tape = Tape::new();
        let (x, y) = (tape.var(&store, images)?, tape.var(&store, labels)?);
        let seed = tape.var(&store, shares)?;
        let logits = model.forward(&mut tape, &store, x, &Run::default())?.logits;
        let losses = cross_entropy_labels(&mut tape, logits, y, 0.0)?;
        let backward = tape.backward(losses, Some(seed), &[x], &[(&store, model.params())])?;
        let ([d_images], [d_params]) = (backward.values.as_slice(), backward.groups.as_slice()) else {
            return Err(Error::new("gradients", "the backward pass gave another number of gradients"));
        };
        let (d_images, d_params) = (*d_images, *d_params);
        let plan = tape.plan(&mut store, &[losses, d_images, d_params])?;
        Ok(Self { store, model, batch, images, labels, shares, plan, losses, d_images, d_params, gradients })
    }

    /// Loss and gradients over all images, batch after batch; sums in f64.
    fn sum(&mut self, images: &Images, labels: &[i32]) -> Result<Sums> {
        let volume = images.pixels.len() / images.count;
        #[expect(clippy::cast_precision_loss, reason = "a count of images")]
        let share = 1.0 / images.count as f64;
        let mut loss = 0.0;
        let mut d_images: Vec<f32> = Vec::with_capacity(images.pixels.len());
        let mut total: Vec<f64> = Vec::new();
        for (pixels, labels) in images.pixels.chunks(self.batch * volume).zip(labels.chunks(self.batch)) {
            let count = labels.len();
            self.store.write_values(self.images, &padded(pixels, self.batch * volume, 0.0))?;
            self.store.write_values(self.labels, &padded(labels, self.batch, 0))?;
            #[expect(clippy::cast_possible_truncation, reason = "gradients are f32")]
            self.store.write_values(self.shares, &padded(&vec![share as f32; count], self.batch, 0.0))?;
            self.plan.replay(&mut self.store)?;
            let losses = self.plan.read(&self.store, self.losses)?;
            loss += share * losses.values::<f32>()?.iter().take(count).map(|&loss| f64::from(loss)).sum::<f64>();
            d_images.extend(self.plan.read(&self.store, self.d_images)?.values::<f32>()?.iter().take(count * volume));
            let part = self.plan.read(&self.store, self.d_params)?.to_f64();
            total.resize(part.len(), 0.0);
            total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        let flat = Tensor::new(&[total.len()], &total)?.cast::<f32>()?;
        self.store.write(self.store.flat(self.gradients), &flat)?;
        let config = self.model.config();
        let dims = [images.count, config.channels, config.image[0], config.image[1]];
        let mut tensors = vec![
            ("loss".to_owned(), Tensor::new(&[], &[loss])?.cast::<f32>()?),
            ("d_images".to_owned(), Tensor::new(&dims, &d_images)?),
        ];
        tensors.extend(self.model.tensors_of(&self.store, self.gradients)?);
        Ok(Sums { loss, tensors })
    }
}
