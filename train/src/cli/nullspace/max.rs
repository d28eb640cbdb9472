//! `vitrum nullspace max`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use engine::{Result, Tensor};
use models::tensor_file;
use rayon::prelude::*;
use serde::Serialize;
use train::nullspace::boxed::{Noisy, Search, difference, largest};
use train::nullspace::exact::permuted;
use train::nullspace::influence::Influence;
use train::report::lab::{Gallery, GalleryStrip, LabReport};

use super::super::args::{ModelArgs, positive};
use super::super::common::Common;
use super::super::gallery::{of_influence, strip};
use super::super::predict::Predictor;
use super::super::record::of_model;
use super::{RESULT, Source, Space, embedding, influences, logits, picture, prepare, shape};

/// Find the largest noise in the nullspace that keeps images in [0, 1]
///
/// Each patch is a problem of its own: the noise v that the patch embedding doesn't see, with 0 <= x + v <= 1. The logits of x + v are
/// compared with those of x, beside a control: the same values in permuted order, which leave [0, 1].
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum nullspace max --weights vit.safetensors --data cifar-10-batches-bin --search l1 --out largest"
)]
pub struct Args {
    /// Folder to write into: `noisy.safetensors`, pictures, and nullspace.json for `vitrum report`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What is made large, and how
    #[arg(long, value_enum, default_value_t = SearchName::L1)]
    search: SearchName,
    /// Write so many images as PNG files too: 00042_clean.png, 00042_noisy.png
    #[arg(long, value_name = "N", default_value_t = 16)]
    pictures: usize,
    #[command(flatten)]
    space: Space,
    #[command(flatten)]
    source: Source,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum SearchName {
    /// One basis vector after the other, as far as the box allows
    Greedy,
    /// The sum of the noise, by linear programming: exact
    Sum,
    /// The L1 norm, by linear programmes from the greedy noise on: a local maximum
    L1,
}

#[derive(Serialize)]
struct Report {
    search: Search,
    images: usize,
    nullity: usize,
    columns: usize,
    /// Means over images.
    mean_l1: f64,
    mean_l2: f64,
    largest_linf: f64,
    /// Largest |W v|.
    seen: f64,
    /// Largest gap of an image's certificates.
    gap: Option<f64>,
    /// Smallest and largest pixel.
    range: [f32; 2],
    largest_logit: f64,
    nullspace: Influence,
    permuted: Influence,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let file = prepare(&self.out, "noisy.safetensors")?;
        let loaded = self.model.load()?;
        let patches = embedding(&loaded)?;
        let splits = self.space.splits(&patches)?;
        let images = self.source.images(&loaded.config, common.seed)?;
        let search = match self.search {
            SearchName::Greedy => Search::Greedy,
            SearchName::Sum => Search::Sum,
            SearchName::L1 => Search::L1,
        };
        let volume = patches.volume();
        let found: Result<Vec<Noisy>> =
            images.pixels.par_chunks_exact(volume).map(|image| largest(&patches, &splits, image, search)).collect();
        let found = found?;
        let noisy: Vec<f32> = found.iter().flat_map(|noisy| noisy.image.iter().copied()).collect();
        let noise = difference(&noisy, &images.pixels);
        let mut control = images.pixels.clone();
        for (at, (image, noise)) in control.chunks_exact_mut(volume).zip(noise.chunks_exact(volume)).enumerate() {
            let order = permuted(noise, common.seed, u32::try_from(at).unwrap_or(u32::MAX));
            image.iter_mut().zip(&order).for_each(|(pixel, v)| *pixel += v);
        }
        let device = common.device()?;
        let mut predictor = Predictor::new(&device, &loaded, self.batch.min(images.count), common.seed)?;
        let clean = logits(&mut predictor, images.pixels.clone())?;
        let [nullspace, permuted] = [&noisy, &control]
            .map(|pixels| logits(&mut predictor, pixels.clone()).and_then(|noisy| clean.compare(&noisy)));
        let mean = |of: fn(&Noisy) -> f64| found.iter().map(of).sum::<f64>() / found.len().max(1) as f64;
        let most = |of: fn(&Noisy) -> f64| found.iter().map(of).fold(0.0_f64, f64::max);
        let report = Report {
            search,
            images: images.count,
            nullity: splits.iter().map(|split| split.null.ncols()).sum(),
            columns: patches.matrix().ncols(),
            mean_l1: mean(|noisy| noisy.l1),
            mean_l2: mean(|noisy| noisy.l2),
            largest_linf: most(|noisy| noisy.linf),
            seen: most(|noisy| noisy.seen),
            gap: found.iter().all(|noisy| noisy.gap.is_some()).then(|| most(|noisy| noisy.gap.unwrap_or(0.0))),
            range: noisy.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[a, b], &p| [a.min(p), b.max(p)]),
            largest_logit: clean.largest(),
            nullspace: nullspace?,
            permuted: permuted?,
        };
        let dims = shape(&loaded.config);
        let [c, h, w] = dims;
        let tensor = |values: &[f32]| Tensor::new(&[images.count, c, h, w], values);
        let tensors = [("images", tensor(&noisy)?), ("clean", tensor(&images.pixels)?), ("noise", tensor(&noise)?)];
        tensor_file::write(&file, tensors.iter().map(|(name, tensor)| (*name, tensor)), &BTreeMap::new())?;
        let pairs = images.pixels.chunks_exact(volume).zip(noisy.chunks_exact(volume));
        for (at, (clean, noisy)) in pairs.take(self.pictures).enumerate() {
            picture(&self.out, &format!("{at:05}_clean.png"), clean, dims)?;
            picture(&self.out, &format!("{at:05}_noisy.png"), noisy, dims)?;
        }
        let mut lab = LabReport::new(of_model(common, &device, &self.model, &loaded));
        lab.measures.extend(of_influence(&report.nullspace, "noise in the box"));
        lab.measures.extend(of_influence(&report.permuted, "the same, permuted"));
        lab.nullspace = Some(self.gallery(&found));
        lab.write(self.out.join(RESULT))?;
        self.show(common, &report)?;
        common.screen().line(format_args!("written: {}", file.display()))?;
        common.screen().json(&serde_json::json!({ "max": report, "output": file }))
    }

    /// The pictures, clean beside noisy.
    fn gallery(&self, found: &[Noisy]) -> Gallery {
        let row = |(at, noisy): (usize, &Noisy)| -> GalleryStrip {
            let change = format!("mean change of a pixel {:.3}", noisy.l1 / noisy.image.len().max(1) as f64);
            let pictures = [("clean", "clean".to_owned()), ("noisy", change)];
            strip("", pictures.map(|(kind, caption)| (format!("{at:05}_{kind}.png"), caption)))
        };
        Gallery {
            note: "The largest noise in the nullspace of the patch embedding that keeps images in [0, 1].".to_owned(),
            strips: found.iter().take(self.pictures).enumerate().map(row).collect(),
        }
    }

    fn show(&self, common: &Common, report: &Report) -> Result<()> {
        let screen = common.screen();
        screen.line(format_args!(
            "{} images, nullity {} of {} columns; change of an image: mean L1 {:.2}, mean L2 {:.3}, largest pixel {:.3}",
            report.images, report.nullity, report.columns, report.mean_l1, report.mean_l2, report.largest_linf
        ))?;
        let [least, most] = report.range;
        screen.line(format_args!("pixels lie in [{least}, {most}]; largest |W v| {:.1e}", report.seen))?;
        if let Some(gap) = report.gap {
            screen
                .line(format_args!("linear programmes: at most {gap:.1e} of an image's objective is left unproved"))?;
        }
        screen.line(format_args!("largest logit {:.2}:", report.largest_logit))?;
        influences(&screen, &[("in the box", &report.nullspace), ("the same, permuted", &report.permuted)])
    }
}
