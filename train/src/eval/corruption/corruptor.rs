//! A corruption of one severity, made ready once and applied to many images.

use engine::{Error, Result};
use rayon::prelude::*;

use super::picture::{Draws, Effect, Picture};
use super::{Corruption, Frost, Scale, defocus, digital, elastic, frost, glass, jpeg, motion, noise, spatter, weather};
use super::{filter, zoom};

/// Quality at which ImageNet-C is stored.
const STORED_QUALITY: u32 = 85;

/// How images are corrupted, besides the corruption and its severity.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of all that is drawn.
    pub seed: u64,
    /// What `frost` pastes.
    pub frost: Frost,
    /// Whether images of ImageNet-C's scale are compressed to JPEG of quality 85 in the end, as ImageNet-C is stored.
    pub final_jpeg: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 0, frost: Frost::Procedural, final_jpeg: true }
    }
}

/// A corruption of one severity for images of one shape.
pub struct Corruptor {
    corruption: Corruption,
    severity: u8,
    dims: [usize; 3],
    seed: u64,
    effect: Box<dyn Effect>,
    stored: Option<jpeg::Jpeg>,
}

impl Corruptor {
    /// Prepares a corruption for images `[c, h, w]` of 1 or 3 channels.
    ///
    /// # Errors
    /// Another number of channels, an empty image, a severity outside 1..=5, an image too small for `elastic_transform`, or one
    /// larger than the photographs of frost.
    pub fn new(corruption: Corruption, severity: u8, dims: [usize; 3], options: &Options) -> Result<Self> {
        let [channels, height, width] = dims;
        let error = |problem: &str| Error::new(corruption.name(), problem).with("image [c, h, w]", format!("{dims:?}"));
        if !matches!(channels, 1 | 3) {
            return Err(error("takes images of 1 or 3 channels"));
        }
        if height.checked_mul(width).and_then(|area| area.checked_mul(channels)).is_none_or(|volume| volume == 0) {
            return Err(error("the image is empty"));
        }
        let scale = Scale::of(height, width);
        let constants = corruption.constants(severity, scale)?;
        let effect = effect(corruption, constants, scale, dims, options)
            .map_err(|problem| problem.with("image [c, h, w]", format!("{dims:?}")))?;
        let stored = (scale == Scale::ImageNet && options.final_jpeg).then(|| jpeg::Jpeg::new(STORED_QUALITY));
        Ok(Self { corruption, severity, dims, seed: options.seed, effect, stored })
    }

    /// The corruption.
    pub fn corruption(&self) -> Corruption {
        self.corruption
    }

    /// Its severity, 1 to 5.
    pub fn severity(&self) -> u8 {
        self.severity
    }

    /// Corrupts an image of levels `[c, h, w]` in place. What is drawn depends on `sample`.
    ///
    /// # Errors
    /// The number of values does not match the shape; the image is then untouched.
    pub fn levels(&self, image: &mut [u8], sample: u32) -> Result<()> {
        self.check(image.len())?;
        image.copy_from_slice(&self.corrupted(image.to_vec(), sample));
        Ok(())
    }

    /// Corrupts an image `[c, h, w]` of pixels in [0, 1] in place. The result is a whole number of levels / 255.
    ///
    /// # Errors
    /// Another number of values, or a pixel outside [0, 1]. The image is then untouched.
    pub fn pixels(&self, image: &mut [f32], sample: u32) -> Result<()> {
        self.check(image.len())?;
        if let Some((at, value)) = image.iter().enumerate().find(|(_, value)| !(0.0..=1.0).contains(*value)) {
            let problem = Error::new(self.corruption.name(), "a pixel is outside [0, 1]");
            return Err(problem.with("sample", sample).with("index", at).with("value", value));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=255, checked above")]
        let level = |value: &f32| (value * 255.0).round() as u8;
        let levels = self.corrupted(image.iter().map(level).collect(), sample);
        for (pixel, level) in image.iter_mut().zip(levels) {
            *pixel = f32::from(level) / 255.0;
        }
        Ok(())
    }

    /// As [`pixels`](Self::pixels) for images one after the other, in parallel: one for each sample id.
    ///
    /// # Errors
    /// As [`pixels`](Self::pixels); images before and after the one at fault may have changed.
    pub fn batch(&self, images: &mut [f32], samples: &[u32]) -> Result<()> {
        let volume = self.dims.iter().product();
        images.par_chunks_exact_mut(volume).zip(samples).try_for_each(|(image, &sample)| self.pixels(image, sample))
    }

    fn corrupted(&self, levels: Vec<u8>, sample: u32) -> Vec<u8> {
        let [channels, height, width] = self.dims;
        let mut picture = Picture { levels, channels, size: [height, width] };
        let draws = Draws { seed: self.seed, severity: self.severity, sample };
        self.effect.apply(&mut picture, &draws);
        if let Some(stored) = &self.stored {
            stored.apply(&mut picture, &draws);
        }
        picture.levels
    }

    fn check(&self, values: usize) -> Result<()> {
        if values == self.dims.iter().product::<usize>() {
            return Ok(());
        }
        Err(Error::new(self.corruption.name(), "the number of values does not match the shape")
            .with("image [c, h, w]", format!("{:?}", self.dims))
            .with("values", values))
    }
}

fn effect(
    corruption: Corruption,
    constants: &[f64],
    scale: Scale,
    [_, height, width]: [usize; 3],
    options: &Options,
) -> Result<Box<dyn Effect>> {
    let size = [height, width];
    Ok(match corruption {
        Corruption::GaussianNoise => Box::new(noise::Gaussian::new(take(constants)?)),
        Corruption::ShotNoise => Box::new(noise::Shot::new(take(constants)?)),
        Corruption::ImpulseNoise => Box::new(noise::Impulse::new(take(constants)?)),
        Corruption::SpeckleNoise => Box::new(noise::Speckle::new(take(constants)?)),
        Corruption::GaussianBlur => Box::new(filter::GaussianBlur::new(take(constants)?)),
        Corruption::DefocusBlur => Box::new(defocus::Defocus::new(take(constants)?)),
        Corruption::GlassBlur => Box::new(glass::Glass::new(take(constants)?)),
        Corruption::MotionBlur => Box::new(motion::MotionBlur::new(take(constants)?)),
        Corruption::ZoomBlur => Box::new(zoom::ZoomBlur::new(take(constants)?, size)),
        Corruption::Snow => Box::new(weather::Snow::new(take(constants)?, size)),
        Corruption::Frost => Box::new(frost::Frosted::new(take(constants)?, scale, size, &options.frost)?),
        Corruption::Fog => Box::new(weather::Fog::new(take(constants)?, scale, size)),
        Corruption::Brightness => Box::new(digital::Brightness::new(take(constants)?)),
        Corruption::Contrast => Box::new(digital::Contrast::new(take(constants)?)),
        Corruption::Saturate => Box::new(digital::Saturate::new(take(constants)?)),
        Corruption::ElasticTransform => Box::new(elastic::Elastic::new(take(constants)?, size)?),
        Corruption::Pixelate => Box::new(digital::Pixelate::new(take(constants)?)),
        Corruption::JpegCompression => {
            let [quality] = take(constants)?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, 7 to 80")]
            let quality = quality as u32;
            Box::new(jpeg::Jpeg::new(quality))
        }
        Corruption::Spatter => Box::new(spatter::Spatter::new(take(constants)?)),
    })
}

/// A row of constants as the corruption takes it.
fn take<const N: usize>(constants: &[f64]) -> Result<[f64; N]> {
    constants.try_into().map_err(|_| {
        Error::new("corruption", "the table of constants has another number of columns").with("expected", N)
    })
}
