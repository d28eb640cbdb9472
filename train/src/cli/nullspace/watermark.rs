//! `vitrum nullspace watermark`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use engine::{Result, Tensor};
use models::tensor_file;
use serde::Serialize;
use train::nullspace::boxed::{Distance, Noisy, psnr, superpose};
use train::nullspace::influence::Influence;
use train::report::lab::{Gallery, LabReport};

use super::super::args::ModelArgs;
use super::super::common::Common;
use super::super::gallery::{of_influence, strip};
use super::super::predict::Predictor;
use super::super::record::of_model;
use super::{RESULT, Source, Space, embedding, influences, logits, picture, prepare, shape};

/// Make an image that looks like one image and is taken for another
///
/// Of all images in [0, 1] that the patch embedding can't tell from the source, the one that is nearest to the target.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum nullspace watermark --weights vit.safetensors --data cifar-10-batches-bin --source 3 --target 8 --out mark"
)]
pub struct Args {
    /// Folder to write into: `watermark.safetensors`, source.png, target.png, superposition.png, and nullspace.json for
    /// `vitrum report`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Position of the image that the model shall see
    #[arg(long = "source", value_name = "N", default_value_t = 0)]
    from: usize,
    /// Position of the image that people shall see
    #[arg(long = "target", value_name = "N", default_value_t = 1)]
    to: usize,
    /// How the distance to the target is measured
    #[arg(long, value_enum, default_value_t = DistanceName::L2)]
    distance: DistanceName,
    #[command(flatten)]
    space: Space,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum DistanceName {
    /// Euclidean
    L2,
    /// Sum of absolute differences, as in the authors' code
    L1,
}

#[derive(Serialize)]
struct Report {
    distance: Distance,
    /// Most probable class of source, superposition and target.
    classes: [Option<usize>; 3],
    noise: Noisy,
    /// dB, of the superposition against the target and against the source.
    psnr_target: f64,
    psnr_source: f64,
    /// dB, of the source against the target: where the superposition started.
    psnr_start: f64,
    largest_logit: f64,
    influence: Influence,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let file = prepare(&self.out, "watermark.safetensors")?;
        let loaded = self.model.load()?;
        let patches = embedding(&loaded)?;
        let splits = self.space.splits(&patches)?;
        let source = self.source.image(&loaded.config, common.seed, self.from)?;
        let target = self.source.image(&loaded.config, common.seed, self.to)?;
        let distance = match self.distance {
            DistanceName::L2 => Distance::L2,
            DistanceName::L1 => Distance::L1,
        };
        let noise = superpose(&patches, &splits, &source, &target, distance)?;
        let device = common.device()?;
        let mut predictor = Predictor::new(&device, &loaded, 1, common.seed)?;
        let clean = logits(&mut predictor, source.clone())?;
        let marked = logits(&mut predictor, noise.image.clone())?;
        let classes = [&clean, &marked, &logits(&mut predictor, target.clone())?];
        let report = Report {
            distance,
            classes: classes.map(|logits| logits.predictions().first().copied()),
            psnr_target: psnr(&noise.image, &target),
            psnr_source: psnr(&noise.image, &source),
            psnr_start: psnr(&source, &target),
            largest_logit: clean.largest(),
            influence: clean.compare(&marked)?,
            noise,
        };
        let dims = shape(&loaded.config);
        let [c, h, w] = dims;
        let tensors = [("images", &report.noise.image), ("source", &source), ("target", &target)]
            .map(|(name, values)| Ok((name, Tensor::new(&[1, c, h, w], values)?)));
        let tensors = tensors.into_iter().collect::<Result<Vec<_>>>()?;
        tensor_file::write(&file, tensors.iter().map(|(name, tensor)| (*name, tensor)), &BTreeMap::new())?;
        for (name, image) in [("source", &source), ("target", &target), ("superposition", &report.noise.image)] {
            picture(&self.out, &format!("{name}.png"), image, dims)?;
        }
        let mut lab = LabReport::new(of_model(common, &device, &self.model, &loaded));
        lab.measures = of_influence(&report.influence, "superposition, beside its source");
        lab.nullspace = Some(gallery(&report));
        lab.write(self.out.join(RESULT))?;
        let screen = common.screen();
        let class = |class: Option<usize>| class.map_or("?".to_owned(), |class| class.to_string());
        let [of_source, of_mark, of_target] = report.classes.map(class);
        screen.line(format_args!(
            "class of the source {of_source}, of the superposition {of_mark}, of the target {of_target}"
        ))?;
        screen.line(format_args!(
            "PSNR of the superposition: {:.2} dB to the target, {:.2} dB to the source (source to target: {:.2} dB)",
            report.psnr_target, report.psnr_source, report.psnr_start
        ))?;
        screen.line(format_args!(
            "largest |W v| {:.1e}; at most {:.1e} of the distance is left unproved; largest logit {:.2}:",
            report.noise.seen,
            report.noise.gap.unwrap_or(f64::NAN),
            report.largest_logit
        ))?;
        influences(&screen, &[("superposition", &report.influence)])?;
        screen.line(format_args!("written: {}", file.display()))?;
        screen.json(&serde_json::json!({ "watermark": report, "output": file }))
    }
}

fn gallery(report: &Report) -> Gallery {
    let names = ["source", "superposition", "target"];
    let pictures = names.into_iter().zip(report.classes).map(|(name, class)| {
        let class = class.map_or_else(String::new, |class| format!("\npredicted class {class}"));
        (format!("{name}.png"), format!("{name}{class}"))
    });
    Gallery {
        note: format!(
            "The superposition is nearest to the target among the images that the patch embedding can't tell from the source: PSNR {:.2} dB.",
            report.psnr_target
        ),
        strips: vec![strip("", pictures)],
    }
}
