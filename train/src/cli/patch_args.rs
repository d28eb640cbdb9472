//! Flags of Patch-Fool.

use clap::ValueEnum;
use engine::Result;
use train::attack::patch_fool::{PatchFoolConfig, Selection};
use train::eps::Eps;

#[derive(clap::Args)]
#[command(next_help_heading = "Patch-Fool")]
pub struct PatchArgs {
    /// Patches to change
    #[arg(long, value_name = "N", default_value_t = 1)]
    patches: u32,
    /// How they are chosen
    #[arg(long, value_enum, default_value_t = SelectName::Attention)]
    patch_select: SelectName,
    /// Block whose attention chooses, from 0; at most the last one
    #[arg(long, value_name = "BLOCK", default_value_t = 4)]
    patch_block: usize,
    /// Learning rate, in normalised units; times .95 every 10 steps
    #[arg(long, value_name = "LR", default_value_t = 0.22)]
    patch_lr: f64,
    /// Weight of the gradients of attention; 0 for cross-entropy alone
    #[arg(long, value_name = "W", default_value_t = 0.002)]
    patch_attention: f32,
    /// Bound the change of each pixel: 8/255 [default: the range of images]
    #[arg(long, value_name = "EPS")]
    patch_mild: Option<String>,
    /// Change only so many pixels of the patches, chosen at random
    #[arg(long, value_name = "N")]
    patch_pixels: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SelectName {
    /// Those that receive most attention
    Attention,
    /// Those with the largest gradients
    Saliency,
    /// At random
    Random,
}

impl PatchArgs {
    /// The attack as the flags say, of `steps` or the default.
    pub fn config(&self, steps: Option<u32>, stochastic: bool) -> Result<PatchFoolConfig> {
        let default = PatchFoolConfig::default();
        let mild = self.patch_mild.as_deref().map(str::parse::<Eps>).transpose();
        Ok(PatchFoolConfig {
            patches: self.patches,
            select: match self.patch_select {
                SelectName::Attention => Selection::Attention,
                SelectName::Saliency => Selection::Saliency,
                SelectName::Random => Selection::Random,
            },
            block: self.patch_block,
            steps: steps.unwrap_or(default.steps),
            lr: self.patch_lr,
            attention_weight: self.patch_attention,
            mild: mild.map_err(|error| error.within("--patch-mild"))?,
            pixels: self.patch_pixels,
            stochastic,
            ..default
        })
    }
}
