//! `vitrum demo`

use std::path::PathBuf;

use engine::{Error, Result};
use vitrum_train::demo::{self, Demo};

use super::common::Common;
use super::progress::Progress;

/// Train a small ViT on drawn shapes, finetune it three ways, attack all four, and write a report
#[derive(clap::Args)]
#[command(after_help = "Example:\n  vitrum demo\n  vitrum demo --report shapes.html --train 2000 --epochs 6")]
pub struct Args {
    /// Where the report goes: one HTML file with tables, charts and pictures
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    report: PathBuf,
    /// A small model on few images: a minute in software, and far too little to learn much
    #[arg(long)]
    tiny: bool,
    /// Training images [default: 6000; 48 if tiny]
    #[arg(long, value_name = "N")]
    train: Option<usize>,
    /// Test images [default: 500; 8 if tiny]
    #[arg(long, value_name = "N")]
    test: Option<usize>,
    /// Epochs of the first model's training [default: 12; 2 if tiny]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Epochs of each finetuning; adversarial training takes twice as many [default: 3; 1 if tiny]
    #[arg(long, value_name = "N")]
    finetune: Option<u32>,
    /// Images per step [default: 64; 16 if tiny]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
}

impl Default for Args {
    fn default() -> Self {
        let report = "report.html".into();
        Self { report, tiny: false, train: None, test: None, epochs: None, finetune: None, batch: None }
    }
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        if self.batch == Some(0) {
            return Err(Error::new("--batch", "a batch of 0 images can't be trained on").help("give 1 or more"));
        }
        let device = common.device()?;
        let base = if self.tiny { Demo::TINY } else { Demo::FULL };
        let demo = Demo {
            seed: common.seed,
            train: self.train.unwrap_or(base.train),
            test: self.test.unwrap_or(base.test),
            epochs: self.epochs.unwrap_or(base.epochs),
            finetune: self.finetune.unwrap_or(base.finetune),
            batch: self.batch.unwrap_or(base.batch),
            ..base
        };
        let mut progress = Progress::new("steps");
        let outcome =
            demo::run(&device, &demo, &self.report, &mut |stage, done, of| progress.show(stage, done, of, ""))?;
        progress.finish();
        let screen = common.screen();
        let mut rows =
            vec![["model", "clean", "PGD-20", "corrupted", "ECE-15", "trained in"].map(str::to_owned).to_vec()];
        for model in &outcome.models {
            let percent = |value: f64| format!("{:.1}%", 100.0 * value);
            rows.push(vec![
                model.name.clone(),
                percent(model.clean),
                percent(model.pgd20),
                percent(model.corruption),
                percent(model.ece15),
                format!("{:.1} s", model.seconds),
            ]);
        }
        screen.table(&rows)?;
        let null = outcome.nullspace;
        screen.line(format_args!(
            "\nnullspace of the patch embedding: {} of {} dimensions; noise of {:.2} there moves the logits by {:.1e}, permuted by {:.1e}",
            null.nullity, null.columns, null.linf, null.noise, null.permuted
        ))?;
        screen.line(format_args!("report: {}", self.report.display()))?;
        screen.json(&outcome)
    }
}
