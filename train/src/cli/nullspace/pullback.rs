//! `vitrum nullspace pullback`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use engine::{DType, Device, Error, Result, Store, Tensor};
use models::tensor_file::{self, TensorFile};
use models::{Loaded, Vit};
use serde::Serialize;
use train::data::{Augment, Dataset, Loader};
use train::inputs::Inputs;
use train::nullspace::approximate::{NullspaceConfig, Synthesis, Synthesiser};
use train::nullspace::exact::permuted;
use train::nullspace::influence::Influence;
use train::nullspace::pullback::{PulledBack, pull_back};
use train::report::lab::{Gallery, LabReport};

use super::super::args::{DataDetails, ModelArgs, positive};
use super::super::common::Common;
use super::super::gallery::{of_influence, strip};
use super::super::predict::Predictor;
use super::super::record::provenance;
use super::super::screen::Screen;
use super::{RESULT, embedding, influences, logits, norm, picture, pixels, prepare, shape};

/// Carry noise on the patch tokens back to pixels: one image of noise for all images
///
/// The noise is that of --noise, or is made on the data as nullspace finetuning makes it: large, with little influence on the logits.
/// Each patch is a bounded least-squares problem. Predictions on x + v are compared with those on x, beside a control: the pixels of v in
/// permuted order. x + v is not clipped to [0, 1].
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum nullspace pullback --weights vit.safetensors --data cifar-10-batches-bin --limit 500 --out pulled"
)]
pub struct Args {
    /// Folder to write into: `pullback.safetensors`, noise.png, and nullspace.json for `vitrum report`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// safetensors with `noise` [1, patches, width] on the patch tokens [default: made here]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["noise_limit", "noise_eps", "rounds"])]
    noise: Option<PathBuf>,
    /// Half-width of the uniform noise to start from
    #[arg(long, value_name = "SIZE", default_value_t = 3.0, value_parser = norm)]
    noise_limit: f64,
    /// Bound of the mean squared distance of probabilities at which the noise is done
    #[arg(long, value_name = "EPS", default_value_t = 0.03, value_parser = norm)]
    noise_eps: f64,
    /// Most passes over the data in making the noise
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Largest change of a pixel, images lying in [0, 1]
    #[arg(long, value_name = "SIZE", default_value_t = 1.0, value_parser = norm)]
    linf: f64,
    /// `synthetic` or a folder, as for `vitrum eval`
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

#[derive(Serialize)]
struct Report {
    images: usize,
    linf: f64,
    /// Euclidean norms, of the noise on the tokens and of the pixels'.
    token_norm: f64,
    pixel_norm: f64,
    /// How the noise was made, where it was made here.
    synthesis: Option<Synthesis>,
    pulled: PulledBack,
    pullback: Influence,
    permuted: Influence,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let file = prepare(&self.out, "pullback.safetensors")?;
        let loaded = self.model.load()?;
        let patches = embedding(&loaded)?;
        let data = Arc::new(self.how.open(&self.data, &loaded.config, common.seed)?);
        let device = common.device()?;
        let (noise, synthesis) = match &self.noise {
            Some(path) => (read_noise(path, &loaded)?, None),
            None => self.synthesise(&device, &loaded, &data, common.seed).map(|(noise, how)| (noise, Some(how)))?,
        };
        let pulled = pull_back(&patches, &noise, self.linf)?;
        let images = pixels(&data)?;
        let order = permuted(&pulled.noise, common.seed, 0);
        let mut predictor = Predictor::new(&device, &loaded, self.batch.min(images.count), common.seed)?;
        let mut noisy = |noise: Option<&[f32]>| {
            let mut pixels = images.pixels.clone();
            for image in pixels.chunks_exact_mut(patches.volume()) {
                image.iter_mut().zip(noise.unwrap_or_default()).for_each(|(pixel, v)| *pixel += v);
            }
            logits(&mut predictor, pixels)
        };
        let clean = noisy(None)?;
        let norm = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let report = Report {
            images: images.count,
            linf: self.linf,
            token_norm: norm(&noise),
            pixel_norm: norm(&pulled.noise),
            synthesis,
            pullback: clean.compare(&noisy(Some(&pulled.noise))?)?,
            permuted: clean.compare(&noisy(Some(&order))?)?,
            pulled,
        };
        let dims = shape(&loaded.config);
        let [c, h, w] = dims;
        let tokens = Tensor::new(&[1, loaded.config.patches(), loaded.config.width], &noise)?;
        let tensors = [("noise", Tensor::new(&[1, c, h, w], &report.pulled.noise)?), ("tokens", tokens)];
        tensor_file::write(&file, tensors.iter().map(|(name, tensor)| (*name, tensor)), &BTreeMap::new())?;
        let grey: Vec<f32> = report.pulled.noise.iter().map(|v| 0.5 + 0.5 * v).collect();
        picture(&self.out, "noise.png", &grey, dims)?;
        let mut lab = LabReport::new(provenance(common, &device, &self.model.name(), &loaded, &data)?);
        lab.measures.extend(of_influence(&report.pullback, "noise on the tokens, pulled back"));
        lab.measures.extend(of_influence(&report.permuted, "the same, permuted"));
        lab.nullspace = Some(Gallery {
            note: "Noise on the patch tokens, carried back to pixels; grey is 0.".to_owned(),
            strips: vec![strip("", [("noise.png".to_owned(), format!("largest change {}", self.linf))])],
        });
        lab.write(self.out.join(RESULT))?;
        let screen = common.screen();
        show(&screen, &report)?;
        screen.line(format_args!("written: {}", file.display()))?;
        screen.json(&serde_json::json!({ "pullback": report, "output": file }))
    }

    /// Noise on the tokens, as nullspace finetuning makes it, on this data as it is.
    fn synthesise(
        &self,
        device: &Device,
        loaded: &Loaded,
        data: &Arc<Dataset>,
        seed: u64,
    ) -> Result<(Vec<f32>, Synthesis)> {
        let config = NullspaceConfig {
            limit: self.noise_limit,
            eps: self.noise_eps,
            rounds: self.rounds,
            share: 1.0,
            ..NullspaceConfig::default()
        };
        let batch = self.batch.min(data.len());
        let mut store = Store::new(device.clone())?;
        let model = Vit::new(&mut store, "params", loaded.config.clone(), &loaded.tensors, DType::F32)?;
        let inputs = Inputs::new(&mut store, &loaded.config, batch)?;
        let synthesiser = Synthesiser::new(&mut store, &model, &inputs, &config)?;
        let loader = Loader::train(Arc::clone(data), batch, seed, Augment::default())?;
        let how = synthesiser.run(&mut store, &inputs, &loader, seed, 0)?;
        let noise = store.read(synthesiser.noise(&store)?)?;
        Ok((noise.values::<f32>()?.to_vec(), how))
    }
}

/// Noise on the patch tokens in a file.
fn read_noise(path: &PathBuf, loaded: &Loaded) -> Result<Vec<f32>> {
    let tensor = TensorFile::open(path)?.read("noise")?;
    let expected = [loaded.config.patches(), loaded.config.width];
    if tensor.dims() != expected && tensor.dims() != [&[1], &expected[..]].concat() {
        return Err(Error::new(format!("{}: noise", path.display()), "not noise on this model's patch tokens")
            .with("noise", tensor.spec())
            .with("model [1, patches, width]", format!("[1, {}, {}]", expected[0], expected[1])));
    }
    Ok(tensor.cast::<f32>()?.values::<f32>()?.to_vec())
}

fn show(screen: &Screen, report: &Report) -> Result<()> {
    if let Some(how) = &report.synthesis {
        let end =
            if how.reached { "reached eps" } else { "did not reach eps: give more --rounds or a larger --noise-eps" };
        screen.line(format_args!("noise made in {} steps, influence {:.3e}: {end}", how.steps, how.influence))?;
    }
    let pulled = &report.pulled;
    screen.line(format_args!(
        "tokens' noise of norm {:.2} -> pixels of norm {:.2}; relative misfit {:.3}, {:.1}% of the pixels at a bound",
        report.token_norm,
        report.pixel_norm,
        pulled.misfit,
        100.0 * pulled.bound
    ))?;
    screen.line(format_args!("KKT residual {:.1e}, unproved part of the objective {:.1e}", pulled.kkt, pulled.gap))?;
    screen.line(format_args!(
        "agreement with the predictions on {} clean images: {:.4}; permuted: {:.4}",
        report.images, report.pullback.agreement, report.permuted.agreement
    ))?;
    influences(screen, &[("pulled back", &report.pullback), ("the same, permuted", &report.permuted)])
}
