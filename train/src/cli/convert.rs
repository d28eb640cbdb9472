//! `vitrum convert`

use std::path::PathBuf;

use engine::Result;
use models::adapt;

use super::args::ModelDetails;
use super::common::Common;
use super::images::check_output;

/// Write weights of any naming under timm's names, adapted where asked for
///
/// Reads safetensors in timm, Hugging Face, torchvision or vit-pytorch naming. The result loads into timm's model, and
/// carries the whole configuration for Vitrum in its metadata.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Weights: a safetensors file, an index of shards, or a folder with either
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// The new file
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the head by a fresh one for so many classes, drawn by --seed
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    #[command(flatten)]
    model: ModelDetails,
}

const EXAMPLE: &str = "\
Example:
  vitrum convert --weights vit_tiny.safetensors --model vit_tiny_patch16_224 --image-size 32 --patch 4 --classes 10 \\
      --output vit_tiny_32.safetensors";

impl Args {
    pub fn run(&self, common: &Common) -> Result<()> {
        check_output(&self.output, &[&self.weights])?;
        let mut loaded = self.model.load(&self.weights)?;
        if let Some(classes) = self.classes {
            loaded = adapt::adapt_head(loaded, classes, common.seed)?;
        }
        models::save(&self.output, &loaded.config, &loaded.tensors)?;
        let screen = common.screen();
        let config = &loaded.config;
        screen.line(format_args!(
            "{:?} naming, {} parameters in {} tensors: width {}, depth {}, {} heads, image {:?}, patch {}, {} classes\nwritten: {}",
            loaded.layout,
            config.parameter_count(),
            loaded.tensors.len(),
            config.width,
            config.depth,
            config.heads,
            config.image,
            config.patch,
            config.classes,
            self.output.display()
        ))?;
        screen.json(&serde_json::json!({
            "output": self.output,
            "layout": format!("{:?}", loaded.layout),
            "parameters": config.parameter_count(),
            "config": config,
            "assumed": loaded.assumed,
        }))
    }
}
