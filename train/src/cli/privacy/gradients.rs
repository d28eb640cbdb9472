//! `vitrum privacy gradients`

use std::path::PathBuf;

use clap::ValueEnum;
use engine::{DType, Result};
use serde::Serialize;
use train::privacy::gradients::{Analytic, Descended, Leak};
use train::privacy::quality::Quality;
use train::report::lab::{Gallery, LabReport};

use super::super::args::{DataArgs, ModelArgs};
use super::super::common::Common;
use super::super::gallery::{of_quality, strip as row};
use super::super::progress::Progress;
use super::super::record::provenance;
use super::{DescentArgs, RESULT, originals, prepare, qualities, shape, strip, write};

/// Reconstruct images from the gradient of a training step on each alone
///
/// In closed form from the gradients of the position embedding and the patch embedding: exact while an image has no more patches than
/// tokens have values. Or by descent of the cosine distance of all gradients. The label is read off the head's gradient.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum privacy gradients --weights vit.safetensors --data cifar-10-batches-bin --limit 4 --out leaked\n  vitrum privacy gradients --weights vit.safetensors --data cifar-10-batches-bin --limit 1 --attack descent --steps 2400 --out leaked"
)]
pub struct Args {
    /// Folder to write into: `reconstructed.safetensors`, strip.png, and privacy.json for `vitrum report`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How
    #[arg(long, value_enum, default_value_t = AttackName::Analytic)]
    attack: AttackName,
    #[command(flatten)]
    descent: DescentArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum AttackName {
    /// A linear system
    Analytic,
    /// Adam on signed gradients
    Descent,
}

/// Images where no flag says how many.
const COUNT: usize = 4;

/// What one image's gradient gave away.
#[derive(Serialize)]
struct Row {
    id: u32,
    label: i32,
    /// As the head's gradient tells it.
    inferred: i32,
    analytic: Option<Analytic>,
    descended: Option<Descended>,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let file = prepare(&self.out)?;
        let loaded = self.model.load()?;
        let data = self.data.open(&loaded.config, common.seed)?;
        let count = if self.data.how.limit.is_some() { data.len() } else { data.len().min(COUNT) };
        let data = data.subset(0..count)?;
        let originals = originals(&data)?;
        let dims = shape(&loaded.config);
        let volume: usize = dims.iter().product();
        let device = common.device()?;
        let mut leak = Leak::new(&device, &loaded.config, &loaded.tensors, DType::F32)?;
        let how = self.descent.descent(true, 0.2);
        let (mut rows, mut found) = (Vec::new(), Vec::new());
        let mut progress = Progress::new("img");
        let samples = originals.pixels.chunks_exact(volume).zip(&originals.ids).zip(&originals.labels);
        for ((image, &id), &label) in samples {
            let image: Vec<f64> = image.iter().map(|&pixel| f64::from(pixel)).collect();
            let gradient = leak.parameters(&image, label)?;
            let inferred = leak.label(&gradient)?;
            let mut row = Row { id, label, inferred, analytic: None, descended: None };
            match self.attack {
                AttackName::Analytic => {
                    let analytic = leak.analytic(&gradient)?;
                    found.extend_from_slice(&analytic.image);
                    row.analytic = Some(analytic);
                }
                AttackName::Descent => {
                    let descended = leak.descend(&gradient, inferred, common.seed, id, &how)?;
                    found.extend_from_slice(&descended.image);
                    row.descended = Some(descended);
                }
            }
            rows.push(row);
            progress.show("inverting", rows.len(), count, "");
        }
        progress.finish();
        let quality = Quality::of(&originals.pixels, &found, dims)?;
        strip(&self.out, "strip.png", &[&originals.pixels, &found], dims)?;
        write(&file, &[("images", &originals.pixels), ("reconstructed", &found)], dims)?;
        let screen = common.screen();
        let labels = rows.iter().filter(|row| row.inferred == row.label).count();
        screen.line(format_args!("{count} images, {labels} labels read off the gradient correctly"))?;
        if let Some(first) = rows.first().and_then(|row| row.analytic.as_ref()) {
            let ranks = rows.iter().filter_map(|row| row.analytic.as_ref());
            let least = ranks.map(|analytic| analytic.rank).min().unwrap_or(first.rank);
            screen
                .line(format_args!("independent tokens' gradients: at least {least} of {} patches", first.patches))?;
        }
        let name = match self.attack {
            AttackName::Analytic => "the closed form".to_owned(),
            AttackName::Descent => format!("{} steps of descent", how.steps),
        };
        let mut lab = LabReport::new(provenance(common, &device, &self.model.name(), &loaded, &data)?);
        lab.measures = of_quality(&quality, &name);
        let caption = format!("originals above, reconstructions below; mean PSNR {:.2} dB", quality.mean_psnr);
        lab.inversion = Some(Gallery {
            note: format!("Images found from the gradient of a training step on each alone, by {name}."),
            strips: vec![row("", [("strip.png".to_owned(), caption)])],
        });
        lab.write(self.out.join(RESULT))?;
        qualities(&screen, &[(name, quality.clone())])?;
        screen.line(format_args!("written: {}", file.display()))?;
        screen.json(&serde_json::json!({ "images": rows, "quality": quality, "descent": how, "output": file }))
    }
}
