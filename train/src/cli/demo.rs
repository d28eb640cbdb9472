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
    /// Training images
    #[arg(long, value_name = "N", default_value_t = Demo::default().train)]
    train: usize,
    /// Test images
    #[arg(long, value_name = "N", default_value_t = Demo::default().test)]
    test: usize,
    /// Epochs of the first model's training
    #[arg(long, value_name = "N", default_value_t = Demo::default().epochs)]
    epochs: u32,
    /// Epochs of each finetuning; adversarial training takes twice as many
    #[arg(long, value_name = "N", default_value_t = Demo::default().finetune)]
    finetune: u32,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = Demo::default().batch)]
    batch: usize,
}

impl Default for Args {
    fn default() -> Self {
        let Demo { train, test, epochs, finetune, batch, .. } = Demo::default();
        Self { report: "report.html".into(), train, test, epochs, finetune, batch }
    }
}

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        if self.batch == 0 {
            return Err(Error::new("--batch", "a batch of 0 images can't be trained on").help("give 1 or more"));
        }
        let device = common.device()?;
        let demo = Demo {
            seed: common.seed,
            train: self.train,
            test: self.test,
            epochs: self.epochs,
            finetune: self.finetune,
            batch: self.batch,
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
