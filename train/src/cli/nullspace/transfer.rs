//! `vitrum nullspace transfer`

use std::path::{Path, PathBuf};

use engine::{Error, Result};
use models::Loaded;
use models::tensor_file::TensorFile;
use serde::Serialize;
use train::nullspace::exact::{Nullspace, Tolerance, permuted};
use train::nullspace::influence::Influence;
use train::report::lab::{LabReport, Measure};

use super::super::args::{ModelArgs, positive};
use super::super::common::Common;
use super::super::gallery::of_influence;
use super::super::images::Images;
use super::super::predict::Predictor;
use super::super::record::{RecordArgs, of_model};
use super::{Source, logits, norm, shape, tolerance};

/// Add noise that one model can't see to the images of others
///
/// The noise is that of --noise, such as `vitrum nullspace max` and `pullback` write, or is drawn from the exact nullspace of --weights.
/// For each model: agreement of its predictions on x + v with those on x, and on x + v with the values of v permuted. x + v is not clipped.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum nullspace transfer --weights a.safetensors --to b.safetensors --to c.safetensors --data cifar-10-batches-bin"
)]
pub struct Args {
    /// Weights of another model; may be repeated. The flags of the model apply to it too
    #[arg(long, value_name = "FILE", required = true)]
    to: Vec<PathBuf>,
    /// safetensors with `noise` [1, c, h, w], or [n, c, h, w] with one for each of the n images [default: drawn here]
    #[arg(long, value_name = "FILE", conflicts_with = "linf")]
    noise: Option<PathBuf>,
    /// Largest absolute value of the noise that is drawn, in every patch
    #[arg(long, value_name = "SIZE", default_value_t = 0.1, value_parser = norm)]
    linf: f64,
    /// Singular values up to this count as null, as for `vitrum nullspace`
    #[arg(long, value_name = "RULE", default_value = "f32", value_parser = tolerance)]
    tolerance: Tolerance,
    #[command(flatten)]
    source: Source,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    record: RecordArgs,
    #[command(flatten)]
    model: ModelArgs,
}

const NAME: &str = "transfer";

/// What the noise does to one model.
#[derive(Serialize)]
struct Row {
    weights: PathBuf,
    /// Whether it is the model that the noise was made for.
    own: bool,
    noise: Influence,
    permuted: Influence,
}

impl Row {
    fn measures(&self) -> Vec<Measure> {
        let on = self.weights.display();
        let own = of_influence(&self.noise, &format!("{on}, noise"));
        own.into_iter().chain(of_influence(&self.permuted, &format!("{on}, permuted noise"))).collect()
    }
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        self.record.prepare(NAME)?;
        let first = self.model.load()?;
        let images = self.source.images(&first.config, common.seed)?;
        let volume = images.pixels.len() / images.count;
        let noise = match &self.noise {
            Some(path) => self.read(path, &first, images.count)?,
            None => self.draw(&first, images.count, common.seed)?,
        };
        let (mut noisy, mut control) = (images.pixels.clone(), images.pixels.clone());
        for (at, noise) in noise.chunks_exact(volume).enumerate() {
            let order = permuted(noise, common.seed, u32::try_from(at).unwrap_or(u32::MAX));
            let range = at * volume..(at + 1) * volume;
            let add = |image: Option<&mut [f32]>, noise: &[f32]| {
                image.into_iter().flatten().zip(noise).for_each(|(pixel, v)| *pixel += v);
            };
            add(noisy.get_mut(range.clone()), noise);
            add(control.get_mut(range), &order);
        }
        let own = self.model.weights.as_deref().unwrap_or(Path::new(""));
        let mut rows = vec![self.row(common, own, &first, true, [&images.pixels, &noisy, &control])?];
        for path in &self.to {
            let loaded = self.model.details.load(path)?;
            if shape(&loaded.config) != shape(&first.config) {
                return Err(Error::new(path.display().to_string(), "the models take images of other shapes")
                    .with("first model [c, h, w]", format!("{:?}", shape(&first.config)))
                    .with("this one [c, h, w]", format!("{:?}", shape(&loaded.config)))
                    .help("--image-size and --channels adapt all of them"));
            }
            rows.push(self.row(common, path, &loaded, false, [&images.pixels, &noisy, &control])?);
        }
        let mut lab = LabReport::new(of_model(common, &common.device()?, &self.model, &first));
        lab.measures = rows.iter().flat_map(Row::measures).collect();
        self.record.write(&lab, NAME)?;
        show(common, &images, &rows)
    }

    fn row(&self, common: &Common, path: &Path, loaded: &Loaded, own: bool, pixels: [&Vec<f32>; 3]) -> Result<Row> {
        let count = pixels[0].len() / shape(&loaded.config).iter().product::<usize>();
        let mut predictor = Predictor::new(&common.device()?, loaded, self.batch.min(count), common.seed)?;
        let [clean, noisy, control] = pixels.map(|pixels| logits(&mut predictor, pixels.clone()));
        let clean = clean?;
        let (noise, permuted) = (clean.compare(&noisy?)?, clean.compare(&control?)?);
        Ok(Row { weights: path.to_path_buf(), own, noise, permuted })
    }

    /// Noise for each image, from a file.
    fn read(&self, path: &Path, loaded: &Loaded, count: usize) -> Result<Vec<f32>> {
        let tensor = TensorFile::open(path)?.read("noise")?;
        let [c, h, w] = shape(&loaded.config);
        let values = tensor.cast::<f32>()?.values::<f32>()?.to_vec();
        match *tensor.dims() {
            [1, ..] if tensor.dims() == [1, c, h, w] => Ok(values.repeat(count)),
            [..] if tensor.dims() == [count, c, h, w] => Ok(values),
            _ => Err(Error::new(format!("{}: noise", path.display()), "not one noise, nor one per image")
                .with("noise", tensor.spec())
                .with("images", format!("[{count}, {c}, {h}, {w}]"))
                .help("choose the images for which it was made: --limit")),
        }
    }

    fn draw(&self, loaded: &Loaded, count: usize, seed: u64) -> Result<Vec<f32>> {
        let weight = loaded.tensor("patch_embed.proj.weight")?;
        let dims = weight.spec().array("nullspace", "patch embedding")?;
        let nullspace = Nullspace::full(&weight.to_f64(), dims, self.tolerance)?;
        let mut noise = Vec::new();
        for index in 0..count {
            let index = u32::try_from(index).map_err(|_| Error::new("--limit", "too many images"))?;
            let std = &loaded.config.normalisation.std;
            noise.extend(nullspace.image_noise(seed, index, self.linf, loaded.config.image, std)?);
        }
        Ok(noise)
    }
}

fn show(common: &Common, images: &Images, rows: &[Row]) -> Result<()> {
    let screen = common.screen();
    screen.line(format_args!("noise made for the first model, on {} images:", images.count))?;
    let heading = ["model", "agreement", "logits MSE", "agreement, permuted", "logits MSE, permuted"];
    let row = |row: &Row| {
        let figures = [&row.noise, &row.permuted]
            .map(|influence| [format!("{:.4}", influence.agreement), format!("{:.3e}", influence.mse_logits)]);
        [row.weights.display().to_string()].into_iter().chain(figures.into_iter().flatten()).collect()
    };
    let table: Vec<Vec<String>> =
        std::iter::once(heading.map(str::to_owned).to_vec()).chain(rows.iter().map(row)).collect();
    screen.table(&table)?;
    screen.json(&serde_json::json!({ "images": images.count, "models": rows }))
}
