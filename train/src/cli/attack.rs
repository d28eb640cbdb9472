//! `vitrum attack`

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Error, Result, Tensor};
use models::tensor_file;
use train::attack::AttackConfig;
use train::attack::patch_fool::PatchFoolConfig;
use train::eval::accuracy::{Attacked, Evaluator, argmax};
use train::report::lab::{LabReport, Measure};
use train::report::measures;
use train::report::picture::png;

use super::args::{DataArgs, ModelArgs, positive};
use super::attack_args::{AttackArgs, AttackName, describe, describe_patch};
use super::common::Common;
use super::progress::Progress;
use super::record::{provenance, to_value};
use super::screen;

/// Attack images and write the results as safetensors and PNG files
///
/// DIR/adversarial.safetensors holds `images` f32 [n, c, h, w], `labels` i32 `[n]`, `predictions` i32 `[n]`, `success` u8 `[n]` (1 where the
/// prediction is not the label) and `indices` u32 `[n]` (positions in the data set). PNG files round to 8 bits, which can undo a small
/// perturbation: measure on the safetensors file.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Folder to write into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What to attack with
    #[arg(long = "attack", value_enum, value_name = "NAME", default_value_t = AttackName::Pgd)]
    name: AttackName,
    /// Write so many images as PNG files too: 00042_clean.png, 00042_attacked.png
    #[arg(long, value_name = "N", default_value_t = 16)]
    pictures: usize,
    /// Images computed at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Draws of a stochastic model whose softmax is averaged; 0 for the mean network
    #[arg(long, value_name = "N", default_value_t = 1)]
    draws: u32,
    #[command(flatten)]
    attack: AttackArgs,
    #[command(flatten)]
    model: ModelArgs,
}

const NAME: &str = "attack";

const EXAMPLE: &str = "\
Example:
  vitrum attack --weights runs/clean/model.safetensors --data cifar-10-batches-bin --limit 100 --eps 8/255 --out attacked";

/// What is kept of each batch.
#[derive(Default)]
struct Results {
    images: Vec<f32>,
    labels: Vec<i32>,
    predictions: Vec<i32>,
    success: Vec<u8>,
    indices: Vec<u32>,
}

/// The attack.
enum What {
    InBall(AttackConfig),
    PatchFool(PatchFoolConfig),
}

impl What {
    fn name(&self) -> String {
        match self {
            Self::InBall(config) => config.name(),
            Self::PatchFool(config) => config.name(),
        }
    }
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        let what = match self.name {
            AttackName::PatchFool => What::PatchFool(self.attack.patch_fool()?),
            name => What::InBall(self.attack.config(name)?),
        };
        let loaded = self.model.load()?;
        let data = Arc::new(self.data.open(&loaded.config, common.seed)?);
        let device = common.device()?;
        std::fs::create_dir_all(&self.out).map_err(|error| Error::io(&self.out, "create", &error))?;
        let file = self.out.join("adversarial.safetensors");
        engine::fs::check_writable(&file)?;
        let (batch, seed) = (self.batch.min(data.len()), common.seed);
        let mut evaluator = Evaluator::new(&device, &loaded.config, &loaded.tensors, batch, self.draws, seed)?;
        let mut results = Results::default();
        let mut progress = Progress::new("img");
        let dims = data.dims();
        let mut each = |attacked: &Attacked| {
            let left = self.pictures.saturating_sub(results.labels.len());
            write_pictures(&self.out, attacked, dims, left)?;
            results.add(attacked, dims);
            progress.show(&what.name(), results.labels.len(), data.len(), "");
            Ok(())
        };
        let (line, (total, accuracy), report) = match &what {
            What::InBall(config) => {
                let report = evaluator.attacked(&data, config, &mut each)?;
                (describe(&report), (report.total, report.accuracy), to_value(&report)?)
            }
            What::PatchFool(config) => {
                let report = evaluator.patched(&data, config, &mut each)?;
                (describe_patch(&report), (report.measured.total, report.measured.accuracy), to_value(&report)?)
            }
        };
        progress.finish();
        results.write(&file, dims)?;
        let fooled = results.success.iter().filter(|&&success| success == 1).count();
        let screen = common.screen();
        screen.line(line)?;
        screen
            .line(format_args!("{fooled} of {total} attacked images are misclassified\nwritten: {}", file.display()))?;
        for warning in evaluator.warnings() {
            screen::note(format_args!("warning: {warning}"));
        }
        let mut lab = LabReport::new(provenance(common, &device, &self.model.name(), &loaded, &data)?);
        lab.warnings = evaluator.warnings().to_vec();
        lab.measures = vec![Measure::new("accuracy", accuracy, what.name())];
        lab.run.settings.insert(format!("attack {}", what.name()), report["config"].clone());
        measures::write(&lab, NAME, Some(&self.out), None)?;
        screen.json(&serde_json::json!({
            "attack": report, "misclassified": fooled, "output": file, "warnings": lab.warnings,
        }))
    }
}

impl Results {
    fn add(&mut self, attacked: &Attacked, dims: [usize; 3]) {
        let samples = attacked.samples;
        let count = samples.count;
        let classes = attacked.probabilities.len() / samples.labels.len().max(1);
        self.images.extend(attacked.images.iter().take(count * dims.iter().product::<usize>()));
        self.indices.extend(samples.ids.iter().take(count));
        for (row, &label) in attacked.probabilities.chunks(classes.max(1)).zip(&samples.labels).take(count) {
            let prediction = i32::try_from(argmax(row)).unwrap_or(i32::MAX);
            self.labels.push(label);
            self.predictions.push(prediction);
            self.success.push(u8::from(prediction != label));
        }
    }

    fn write(&self, file: &Path, [c, h, w]: [usize; 3]) -> Result<()> {
        let count = self.labels.len();
        let tensors = [
            ("images", Tensor::new(&[count, c, h, w], &self.images)?),
            ("labels", Tensor::new(&[count], &self.labels)?),
            ("predictions", Tensor::new(&[count], &self.predictions)?),
            ("success", Tensor::new(&[count], &self.success)?),
            ("indices", Tensor::new(&[count], &self.indices)?),
        ];
        tensor_file::write(file, tensors.iter().map(|(name, tensor)| (*name, tensor)), &BTreeMap::new())
    }
}

/// The first `most` images of a batch, before and after.
fn write_pictures(folder: &Path, attacked: &Attacked, dims: [usize; 3], most: usize) -> Result<()> {
    let volume = dims.iter().product();
    let pairs = attacked.samples.images.chunks(volume).zip(attacked.images.chunks(volume));
    for ((clean, changed), id) in pairs.zip(&attacked.samples.ids).take(attacked.samples.count.min(most)) {
        for (image, what) in [(clean, "clean"), (changed, "attacked")] {
            let bytes = png(image, dims)?;
            engine::fs::write_atomic(folder.join(format!("{id:05}_{what}.png")), |file| file.write_all(&bytes))?;
        }
    }
    Ok(())
}
