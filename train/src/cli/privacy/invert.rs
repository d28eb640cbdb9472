//! `vitrum privacy invert`

use std::path::PathBuf;

use engine::Result;
use serde::Serialize;
use train::privacy::descent::Images;
use train::privacy::inversion::{InversionConfig, Inverted, Inverter};
use train::privacy::quality::Quality;
use train::report::lab::{Gallery, LabReport};

use super::super::args::{DataArgs, ModelArgs, positive};
use super::super::common::Common;
use super::super::gallery::{of_quality, strip as row};
use super::super::progress::Progress;
use super::super::record::provenance;
use super::{DescentArgs, RESULT, check_block, originals, prepare, qualities, shape, strip, write};

/// Reconstruct images from the tokens after a block
///
/// Descends |f(x) - f(x*)|² / |f(x*)|² plus total variation by Adam, from noise, within [0, 1]. Reports PSNR, SSIM and whether the nearest
/// original of a reconstruction is its own.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  vitrum privacy invert --weights vit.safetensors --data cifar-10-batches-bin --limit 16 --block 0 --block 2 --out inverted"
)]
pub struct Args {
    /// Folder to write into: `reconstructed.safetensors`, a strip of pictures for each block, and privacy.json for `vitrum report`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Blocks before the features; 0 for the embedded patches; may be repeated
    #[arg(long, value_name = "N", default_value = "1")]
    block: Vec<usize>,
    /// Draws of a stochastic model whose mean is released; 0 releases the mean network's features
    #[arg(long, value_name = "N", default_value_t = 1)]
    release: u32,
    /// Draws of a stochastic model that the attacker averages in each step; 0 attacks the mean network
    #[arg(long, value_name = "N", default_value_t = 0)]
    draws: u32,
    #[command(flatten)]
    descent: DescentArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = positive)]
    batch: usize,
    #[command(flatten)]
    model: ModelArgs,
}

/// Images where no flag says how many.
const COUNT: usize = 16;

#[derive(Serialize)]
struct Report {
    config: InversionConfig,
    quality: Quality,
    inverted: Inverted,
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let file = prepare(&self.out)?;
        let loaded = self.model.load()?;
        self.block.iter().try_for_each(|&block| check_block(&loaded, block))?;
        let data = self.data.open(&loaded.config, common.seed)?;
        let count = if self.data.how.limit.is_some() { data.len() } else { data.len().min(COUNT) };
        let data = data.subset(0..count)?;
        let originals = originals(&data)?;
        let dims = shape(&loaded.config);
        let start = Images::noise(common.seed, &originals.ids, dims).f32();
        let mut rows = vec![("noise".to_owned(), Quality::of(&originals.pixels, &start, dims)?)];
        let draws = |draws: u32| if loaded.config.stochastic.is_some() { draws } else { 0 };
        let (device, batch) = (common.device()?, self.batch.min(count));
        let mut reports = Vec::new();
        let mut progress = Progress::new("block");
        for (done, &block) in self.block.iter().enumerate() {
            let config = InversionConfig {
                block,
                release: draws(self.release),
                draws: draws(self.draws),
                descent: self.descent.descent(false, 0.01),
            };
            let mut inverter = Inverter::new(&device, &loaded.config, &loaded.tensors, batch, config, common.seed)?;
            let inverted = inverter.run(&originals.pixels, &originals.ids)?;
            let quality = Quality::of(&originals.pixels, &inverted.images, dims)?;
            rows.push((format!("block {block}"), quality.clone()));
            strip(&self.out, &format!("block{block}.png"), &[&originals.pixels, &inverted.images], dims)?;
            reports.push(Report { config, quality, inverted });
            progress.show("inverting", done + 1, self.block.len(), "");
        }
        progress.finish();
        let names: Vec<String> = self.block.iter().map(|block| format!("block{block}")).collect();
        let found = names.iter().zip(&reports).map(|(name, report)| (name.as_str(), report.inverted.images.as_slice()));
        let named: Vec<(&str, &[f32])> = found.chain([("images", originals.pixels.as_slice())]).collect();
        write(&file, &named, dims)?;
        let mut lab = LabReport::new(provenance(common, &device, &self.model.name(), &loaded, &data)?);
        lab.measures = rows.iter().flat_map(|(name, quality)| of_quality(quality, name)).collect();
        lab.inversion = Some(gallery(&reports));
        lab.write(self.out.join(RESULT))?;
        let screen = common.screen();
        screen.line(format_args!("{count} images, {} steps:", self.descent.steps))?;
        qualities(&screen, &rows)?;
        screen.line(format_args!("written: {}", file.display()))?;
        let noise = rows.first().map(|(_, quality)| quality);
        screen.json(&serde_json::json!({ "inversions": reports, "noise": noise, "output": file }))
    }
}

fn gallery(reports: &[Report]) -> Gallery {
    let strip = |Report { config, quality, .. }: &Report| {
        let caption = format!("originals above, reconstructions below; mean PSNR {:.2} dB", quality.mean_psnr);
        row(format!("after block {}", config.block), [(format!("block{}.png", config.block), caption)])
    };
    Gallery {
        note: "Images found by descent from the tokens after a block.".to_owned(),
        strips: reports.iter().map(strip).collect(),
    }
}
