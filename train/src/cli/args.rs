//! Flags that several subcommands share: which model, which data.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use engine::{Error, Result};
use models::{Activation, LoadOptions, Loaded, VitConfig, adapt};
use train::data::{self, Dataset, Interpolation};

use super::screen;

/// A model from its weights.
#[derive(clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Weights: a safetensors file, an index of shards, or a folder with either
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    #[command(flatten)]
    pub details: ModelDetails,
}

/// What weights can't tell, and what is to be changed.
#[derive(clap::Args)]
pub struct ModelDetails {
    /// timm's name of the architecture: gives heads, eps and normalisation
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Attention heads [default: those of --model, else the width of qkv / 64]
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// Activation of the MLPs: gelu or relu
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// Added to the variance by every LayerNorm
    #[arg(long, value_name = "EPS")]
    norm_eps: Option<f64>,
    /// Normalisation of images in [0, 1]: imagenet, half, none or MEANS/STDS, such as 0.1307/0.3081
    #[arg(long, value_name = "SPEC")]
    normalize: Option<String>,
    /// Image size that the weights were trained at, where their grid of patches isn't square
    #[arg(long, value_name = "H[xW]", value_parser = size)]
    trained_size: Option<[usize; 2]>,
    /// Channels that the weights were trained with, where their patch embedding is a matrix
    #[arg(long, value_name = "N")]
    trained_channels: Option<usize>,
    /// Adapt to images of this size: the position embedding is resampled
    #[arg(long, value_name = "H[xW]", value_parser = size)]
    image_size: Option<[usize; 2]>,
    /// Adapt to patches of this side, which must divide the present one
    #[arg(long, value_name = "PIXELS")]
    patch: Option<usize>,
    /// Adapt to images of so many channels
    #[arg(long, value_name = "N")]
    channels: Option<usize>,
}

impl ModelArgs {
    /// The weights, adapted as the flags say. What had to be assumed is said on standard error.
    pub fn load(&self) -> Result<Loaded> {
        let path = self.weights.as_deref().ok_or_else(|| {
            Error::new("--weights", "weights are needed").help("--weights model.safetensors; see --help")
        })?;
        self.details.load(path)
    }

    /// Where the weights come from.
    pub fn name(&self) -> String {
        self.weights.as_deref().map_or_else(String::new, |path| path.display().to_string())
    }
}

impl ModelDetails {
    /// The weights in `path`, adapted as the flags say.
    pub fn load(&self, path: &Path) -> Result<Loaded> {
        let options = LoadOptions {
            model: self.model.clone(),
            image: self.trained_size,
            channels: self.trained_channels,
            heads: self.heads,
            activation: self.activation,
            norm_eps: self.norm_eps,
            normalise: self.normalize.clone(),
        };
        let loaded = models::load(path, &options)?;
        for assumption in &loaded.assumed {
            screen::note(format_args!("assumed: {assumption}"));
        }
        let target = self.adapted(&loaded.config)?;
        if target == loaded.config { Ok(loaded) } else { adapt::adapt(loaded, &target) }
    }

    /// `config` with the image size, patch and channels that are asked for.
    pub fn adapted(&self, config: &VitConfig) -> Result<VitConfig> {
        let mut target = config.clone();
        target.image = self.image_size.unwrap_or(config.image);
        target.patch = self.patch.unwrap_or(config.patch);
        target.channels = self.channels.unwrap_or(config.channels);
        if target.channels != config.channels {
            target.normalisation = match (&self.normalize, config.normalisation.mean.as_slice()) {
                (Some(text), _) => models::Normalisation::parse(text, target.channels)?,
                // One value for all channels stays that.
                (None, [mean, rest @ ..]) if rest.iter().all(|other| other == mean) => {
                    let std = config.normalisation.std.first().copied().unwrap_or(1.0);
                    models::Normalisation::parse(&format!("{mean}/{std}"), target.channels)?
                }
                (None, _) => models::Normalisation::half(target.channels),
            };
        }
        target.validate()?;
        Ok(target)
    }
}

/// `224` or `224x160`, height first.
fn size(text: &str) -> Result<[usize; 2]> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    match (height.parse(), width.parse()) {
        (Ok(height), Ok(width)) if height > 0 && width > 0 => Ok([height, width]),
        _ => Err(Error::new("image size", "not a size in pixels").help("224, or 224x160 for height and width")),
    }
}

/// A count of 1 or more.
pub fn positive(text: &str) -> Result<usize> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Error::new("count", "must be a whole number of 1 or more").with("given", text)),
    }
}

/// Labelled images.
#[derive(clap::Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// `synthetic`, or a folder: CIFAR-10/100 .bin, MNIST idx (.gz or raw), or images in one folder per class
    #[arg(long, value_name = "SPEC")]
    pub data: String,
    #[command(flatten)]
    pub how: DataDetails,
}

/// How data are read.
#[derive(clap::Args)]
pub struct DataDetails {
    /// Which part of the data
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    split: SplitName,
    /// At most so many images
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Share of the shorter side that the centre crop of an image folder keeps
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    crop_pct: f32,
    /// Filter of resizes
    #[arg(long, value_enum, default_value_t = FilterName::Bicubic)]
    interpolation: FilterName,
}

#[derive(Clone, Copy, ValueEnum)]
enum SplitName {
    Train,
    Test,
}

#[derive(Clone, Copy, ValueEnum)]
enum FilterName {
    Bicubic,
    Bilinear,
}

impl DataArgs {
    /// Images of the model's shape and classes.
    pub fn open(&self, config: &VitConfig, seed: u64) -> Result<Dataset> {
        let dataset = self.how.open(&self.data, config, seed)?;
        adapt::check_classes(config, dataset.classes().len(), &self.data)?;
        Ok(dataset)
    }

    /// Images of the model's shape, of whatever classes.
    pub fn open_any(&self, config: &VitConfig, seed: u64) -> Result<Dataset> {
        self.how.open(&self.data, config, seed)
    }
}

impl DataDetails {
    /// As the flags' defaults say, with at most so many images.
    pub fn most(limit: usize) -> Self {
        let (split, interpolation) = (SplitName::Test, FilterName::Bicubic);
        Self { split, limit: Some(limit), crop_pct: 0.9, interpolation }
    }

    /// Options of the reader, and the part to read.
    pub fn options(&self, size: Option<usize>, channels: Option<usize>, seed: u64) -> (data::Options, data::Split) {
        let (limit, crop_pct, interpolation) = (self.limit, self.crop_pct, self.interpolation());
        (data::Options { size, channels, limit, seed, crop_pct, interpolation }, self.split())
    }

    fn split(&self) -> data::Split {
        match self.split {
            SplitName::Train => data::Split::Train,
            SplitName::Test => data::Split::Test,
        }
    }

    /// Filter of resizes.
    pub fn interpolation(&self) -> Interpolation {
        match self.interpolation {
            FilterName::Bicubic => Interpolation::Bicubic,
            FilterName::Bilinear => Interpolation::Bilinear,
        }
    }

    /// Images of the model's shape, of whatever classes.
    pub fn open(&self, spec: &str, config: &VitConfig, seed: u64) -> Result<Dataset> {
        self.open_split(spec, self.split(), config, seed)
    }

    /// As [`DataDetails::open`], from a split that no flag chooses.
    pub fn open_split(&self, spec: &str, split: data::Split, config: &VitConfig, seed: u64) -> Result<Dataset> {
        let [height, width] = config.image;
        let (options, _) = self.options((height == width).then_some(height), Some(config.channels), seed);
        let dataset = data::open(spec, split, &options)?;
        let expected = [config.channels, height, width];
        if dataset.dims() == expected {
            return Ok(dataset);
        }
        Err(Error::new(spec, "the images do not have the model's shape")
            .with("images [c, h, w]", format!("{:?}", dataset.dims()))
            .with("model [c, h, w]", format!("{expected:?}"))
            .help("adapt the model: --image-size, --channels"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_height_then_width() {
        assert_eq!(size("224").unwrap(), [224, 224]);
        assert_eq!(size("32x48").unwrap(), [32, 48]);
        for text in ["", "0", "32x", "x32", "32x0", "-1", "3.5"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn zero_is_not_a_count() {
        assert_eq!(positive("7").unwrap(), 7);
        assert!(positive("0").unwrap_err().to_string().contains("1 or more"));
    }
}
