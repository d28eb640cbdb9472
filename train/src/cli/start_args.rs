//! Flags of the model that a training starts from.

use std::path::PathBuf;

use clap::ValueEnum;
use engine::{Result, Tensor};
use models::{LoadOptions, Stochastic, VitConfig, adapt, init, registry};
use train::data::Dataset;

use super::screen;

/// When a head is replaced.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NewHead {
    /// Where the data have another number of classes
    Needed,
    /// In any case
    Always,
}

/// Stochastic layers, or none.
#[derive(Clone, Copy)]
struct Layers(Option<Stochastic>);

fn layers(text: &str) -> Result<Layers> {
    if text == "none" { Ok(Layers(None)) } else { Ok(Layers(Some(text.parse()?))) }
}

#[derive(clap::Args)]
#[command(next_help_heading = "Model")]
pub struct StartArgs {
    /// Start from these weights; without them the model is initialised afresh
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// timm's name of the architecture
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Give the model a fresh head: where the data have another number of classes, or always
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, default_missing_value = "needed")]
    new_head: Option<NewHead>,
    /// Use the first so many blocks of --weights alone
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
    /// Patch side in pixels
    #[arg(long, value_name = "PIXELS")]
    patch: Option<usize>,
    /// Width of a token (fresh models) [default: 192]
    #[arg(long, value_name = "N")]
    width: Option<usize>,
    /// Blocks (fresh models) [default: 6]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Attention heads [default: width / 64]
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// Hidden width of the MLPs (fresh models) [default: 4 x width]
    #[arg(long, value_name = "N")]
    mlp_width: Option<usize>,
    /// Activation of the MLPs: gelu or relu
    #[arg(long, value_name = "NAME")]
    activation: Option<models::Activation>,
    /// Normalisation: imagenet, half, none or MEANS/STDS
    #[arg(long, value_name = "SPEC")]
    normalize: Option<String>,
    /// Rate of stochastic depth at the last block
    #[arg(long, value_name = "RATE")]
    drop_path: Option<f32>,
    /// Random token-consistent layer in every MLP: a01, a05, a10 (uniform), n05 (normal), b05 (Bernoulli); with :image or :token for
    /// draws of their own, with :matrix for a random matrix; `none` takes the weights' layers away
    #[arg(long, value_name = "NAME", value_parser = layers)]
    stochastic: Option<Layers>,
}

impl StartArgs {
    /// Configuration and starting weights for images like `data`'s.
    pub fn start(&self, data: &Dataset, seed: u64) -> Result<(VitConfig, Vec<(String, Tensor)>)> {
        let [channels, height, width] = data.dims();
        let (mut config, tensors) = match &self.weights {
            Some(path) => {
                let options = LoadOptions {
                    model: self.model.clone(),
                    heads: self.heads,
                    activation: self.activation,
                    normalise: self.normalize.clone(),
                    ..LoadOptions::default()
                };
                let mut loaded = models::load(path, &options)?;
                for assumption in &loaded.assumed {
                    screen::note(format_args!("assumed: {assumption}"));
                }
                if let Some(blocks) = self.blocks {
                    loaded = adapt::truncate(loaded, blocks)?;
                }
                let other = loaded.config.classes != data.classes().len();
                if self.new_head == Some(NewHead::Always) || self.new_head.is_some() && other {
                    loaded = adapt::adapt_head(loaded, data.classes().len(), seed)?;
                }
                let patch = self.patch.unwrap_or(loaded.config.patch);
                let target = VitConfig { image: [height, width], channels, patch, ..loaded.config.clone() };
                let loaded = adapt::adapt(loaded, &target)?;
                (loaded.config, Some(loaded.tensors))
            }
            None => (self.fresh(data)?, None),
        };
        config.drop_path = self.drop_path.unwrap_or(config.drop_path);
        if let Some(Layers(stochastic)) = self.stochastic {
            config.stochastic = stochastic;
        }
        config.validate()?;
        let tensors = match tensors {
            Some(tensors) => tensors,
            None => init::init(&config, seed)?,
        };
        Ok((config, tensors))
    }

    fn fresh(&self, data: &Dataset) -> Result<VitConfig> {
        let [channels, height, width] = data.dims();
        let mut config = registry::lookup(self.model.as_deref().unwrap_or("vit_tiny_patch16_224"))?;
        if self.model.is_none() {
            config.depth = 6;
            config.patch = 4;
        }
        config.patch = self.patch.unwrap_or(config.patch);
        config.depth = self.depth.unwrap_or(config.depth);
        if self.width.is_some() || self.heads.is_some() {
            config.width = self.width.unwrap_or(config.width);
            config.heads = self.heads.unwrap_or((config.width / 64).max(1));
            config.head_width = config.width / config.heads.max(1);
            config.mlp_width = 4 * config.width;
        }
        config.mlp_width = self.mlp_width.unwrap_or(config.mlp_width);
        config.activation = self.activation.unwrap_or(config.activation);
        (config.image, config.channels, config.classes) = ([height, width], channels, data.classes().len());
        config.normalisation = models::Normalisation::parse(self.normalize.as_deref().unwrap_or("half"), channels)?;
        Ok(config)
    }
}
