//! Common corruptions at five severities: the 15 of ImageNet-C and CIFAR-C, and their four extra ones.
//!
//! Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019, and
//! the generators published with it. Images of at most [`SMALL_SIDE`] pixels a side take the constants of CIFAR-C, larger ones
//! those of ImageNet-C ([`Scale`]).
//!
//! As there, a corruption maps 8-bit images to 8-bit images: pixels are rounded to levels first, computed with in f64 (in f32
//! where the generators do), and *truncated* to levels at the end, so that a value that rounding left a hair below a level
//! falls to the one below (a blurred white area may read 254). Large images are then compressed to JPEG of quality 85 and
//! decompressed, as ImageNet-C is stored ([`Options::final_jpeg`]).
//!
//! What the generators draw from NumPy's global state is drawn here from Philox, as a function of seed, corruption, severity,
//! sample and pixel: not of order, batch or threads. Motion blur, which they leave to ImageMagick, is computed by its formula.
//! `frost` pastes photographs, which the published generator comes with; without them it pastes a texture drawn for the
//! purpose, and its figures are not comparable ([`Frost`]).

mod colour;
mod constants;
mod corruptor;
mod dct;
mod defocus;
mod digital;
mod edges;
mod elastic;
mod filter;
mod frost;
mod glass;
mod jpeg;
mod motion;
mod noise;
mod picture;
mod spatter;
mod weather;
mod zoom;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod property_tests;

use std::fmt;
use std::str::FromStr;

use engine::{Error, Result};

pub use constants::Scale;
pub use corruptor::{Corruptor, Options};
pub use frost::Frost;

/// Images up to this side take the constants of CIFAR-C.
pub const SMALL_SIDE: usize = 64;

/// The severities, mild to strong.
pub const SEVERITIES: std::ops::RangeInclusive<u8> = 1..=5;

/// A corruption, named as in the benchmarks' files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Corruption {
    /// `x + c N(0, 1)`, independent for each pixel and channel.
    GaussianNoise,
    /// `Poisson(c x) / c`, independent for each pixel and channel.
    ShotNoise,
    /// Black or white, with even odds, at a share c of the pixels of each channel.
    ImpulseNoise,
    /// Correlation with a disk of radius r, whose edge a Gaussian softens.
    DefocusBlur,
    /// Gaussian blur; pixels are replaced by near ones, in place; Gaussian blur again.
    GlassBlur,
    /// One-sided Gaussian average along a line of random direction, within 45 degrees of the horizontal.
    MotionBlur,
    /// Mean of the image and of enlargements of its centre.
    ZoomBlur,
    /// Streaks of flakes, over a whitened image.
    Snow,
    /// A piece of a photograph of frost, added to the dimmed image.
    Frost,
    /// A diamond-square height map, added; then the range is what it was.
    Fog,
    /// The V of HSV, the largest channel, rises by c.
    Brightness,
    /// `(x - mean) c + mean` with the mean of each channel of the image.
    Contrast,
    /// A random affine map, then displacement by smoothed noise.
    ElasticTransform,
    /// Shrunk to `floor(c side)` pixels and enlarged again, both by a box filter (Pillow's, in 8-bit arithmetic).
    Pixelate,
    /// Compressed to JPEG of quality c, 4:2:0, and decompressed.
    JpegCompression,
    /// `x + c x N(0, 1)`, independent for each pixel and channel.
    SpeckleNoise,
    /// Gaussian blur of standard deviation c pixels, cut at 4 of them; the border pixel continues outward.
    GaussianBlur,
    /// Drops of water, or splashes of mud.
    Spatter,
    /// The S of HSV becomes `c0 S + c1`. An image of one channel has no colour and stays as it is.
    Saturate,
}

impl Corruption {
    /// The 15 of the benchmarks, over which mCE is taken, in the order of the paper.
    pub const STANDARD: [Self; 15] = [
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::DefocusBlur,
        Self::GlassBlur,
        Self::MotionBlur,
        Self::ZoomBlur,
        Self::Snow,
        Self::Frost,
        Self::Fog,
        Self::Brightness,
        Self::Contrast,
        Self::ElasticTransform,
        Self::Pixelate,
        Self::JpegCompression,
    ];

    /// The four that are held out for validation.
    pub const EXTRA: [Self; 4] = [Self::SpeckleNoise, Self::GaussianBlur, Self::Spatter, Self::Saturate];

    /// All 19: [`STANDARD`](Self::STANDARD), then [`EXTRA`](Self::EXTRA).
    pub fn all() -> impl Iterator<Item = Self> {
        Self::STANDARD.into_iter().chain(Self::EXTRA)
    }

    /// `gaussian_noise`, `shot_noise` and so on, as the benchmarks' files and folders are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GaussianNoise => "gaussian_noise",
            Self::ShotNoise => "shot_noise",
            Self::ImpulseNoise => "impulse_noise",
            Self::DefocusBlur => "defocus_blur",
            Self::GlassBlur => "glass_blur",
            Self::MotionBlur => "motion_blur",
            Self::ZoomBlur => "zoom_blur",
            Self::Snow => "snow",
            Self::Frost => "frost",
            Self::Fog => "fog",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::ElasticTransform => "elastic_transform",
            Self::Pixelate => "pixelate",
            Self::JpegCompression => "jpeg_compression",
            Self::SpeckleNoise => "speckle_noise",
            Self::GaussianBlur => "gaussian_blur",
            Self::Spatter => "spatter",
            Self::Saturate => "saturate",
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Corruption {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::all().find(|corruption| corruption.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::all().map(Self::name).collect();
            Error::new("corruption", "there is none of that name")
                .with("name", name)
                .help(format!("choose from {}", names.join(", ")))
        })
    }
}
