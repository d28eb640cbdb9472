//! The severity constants of both benchmarks, as their generators have them.

use engine::{Error, Result};

use super::{Corruption, SMALL_SIDE};

/// Which benchmark's constants an image takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// CIFAR-10-C and CIFAR-100-C, made for 32 pixels a side.
    Cifar,
    /// ImageNet-C, made for 224 pixels a side.
    ImageNet,
}

impl Scale {
    /// The scale of images of this height and width: CIFAR-C's up to [`SMALL_SIDE`] pixels a side.
    pub fn of(height: usize, width: usize) -> Self {
        if height.max(width) <= SMALL_SIDE { Self::Cifar } else { Self::ImageNet }
    }
}

type Rows = [&'static [f64]; 5];

impl Corruption {
    /// The constants of a severity in 1..=5. What each of them means stands with the corruption that takes it.
    ///
    /// # Errors
    /// A severity outside 1..=5.
    pub fn constants(self, severity: u8, scale: Scale) -> Result<&'static [f64]> {
        let rows = match scale {
            Scale::Cifar => self.cifar(),
            Scale::ImageNet => self.imagenet(),
        };
        let index = usize::from(severity).checked_sub(1);
        index.and_then(|index| rows.get(index).copied()).ok_or_else(|| {
            Error::new(self.name(), "the severity must be a whole number from 1 to 5").with("severity", severity)
        })
    }

    const fn cifar(self) -> Rows {
        match self {
            Self::GaussianNoise => [&[0.04], &[0.06], &[0.08], &[0.09], &[0.10]],
            Self::ShotNoise => [&[500.0], &[250.0], &[100.0], &[75.0], &[50.0]],
            Self::ImpulseNoise => [&[0.01], &[0.02], &[0.03], &[0.05], &[0.07]],
            Self::DefocusBlur => [&[0.3, 0.4], &[0.4, 0.5], &[0.5, 0.6], &[1.0, 0.2], &[1.5, 0.1]],
            Self::GlassBlur => {
                [&[0.05, 1.0, 1.0], &[0.25, 1.0, 1.0], &[0.4, 1.0, 1.0], &[0.25, 1.0, 2.0], &[0.4, 1.0, 2.0]]
            }
            Self::MotionBlur => [&[6.0, 1.0], &[6.0, 1.5], &[6.0, 2.0], &[8.0, 2.0], &[9.0, 2.5]],
            Self::ZoomBlur => [&[1.06, 0.01], &[1.11, 0.01], &[1.16, 0.01], &[1.21, 0.01], &[1.26, 0.01]],
            Self::Snow => [
                &[0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95],
                &[0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9],
                &[0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9],
                &[0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85],
                &[0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8],
            ],
            Self::Frost => [&[1.0, 0.2], &[1.0, 0.3], &[0.9, 0.4], &[0.85, 0.4], &[0.75, 0.45]],
            Self::Fog => [&[0.2, 3.0], &[0.5, 3.0], &[0.75, 2.5], &[1.0, 2.0], &[1.5, 1.75]],
            Self::Brightness => [&[0.05], &[0.1], &[0.15], &[0.2], &[0.3]],
            Self::Contrast => [&[0.75], &[0.5], &[0.4], &[0.3], &[0.15]],
            // alpha, sigma and affine shift as shares of 32 pixels.
            Self::ElasticTransform => [
                &[32.0 * 0.0, 32.0 * 0.0, 32.0 * 0.08],
                &[32.0 * 0.05, 32.0 * 0.2, 32.0 * 0.07],
                &[32.0 * 0.08, 32.0 * 0.06, 32.0 * 0.06],
                &[32.0 * 0.1, 32.0 * 0.04, 32.0 * 0.05],
                &[32.0 * 0.1, 32.0 * 0.03, 32.0 * 0.03],
            ],
            Self::Pixelate => [&[0.95], &[0.9], &[0.85], &[0.75], &[0.65]],
            Self::JpegCompression => [&[80.0], &[65.0], &[58.0], &[50.0], &[40.0]],
            Self::SpeckleNoise => [&[0.06], &[0.1], &[0.12], &[0.16], &[0.2]],
            Self::GaussianBlur => [&[0.4], &[0.6], &[0.7], &[0.8], &[1.0]],
            Self::Spatter => [
                &[0.62, 0.1, 0.7, 0.7, 0.5, 0.0],
                &[0.65, 0.1, 0.8, 0.7, 0.5, 0.0],
                &[0.65, 0.3, 1.0, 0.69, 0.5, 0.0],
                &[0.65, 0.1, 0.7, 0.69, 0.6, 1.0],
                &[0.65, 0.1, 0.5, 0.68, 0.6, 1.0],
            ],
            Self::Saturate => [&[0.3, 0.0], &[0.1, 0.0], &[1.5, 0.0], &[2.0, 0.1], &[2.5, 0.2]],
        }
    }

    const fn imagenet(self) -> Rows {
        match self {
            Self::GaussianNoise => [&[0.08], &[0.12], &[0.18], &[0.26], &[0.38]],
            Self::ShotNoise => [&[60.0], &[25.0], &[12.0], &[5.0], &[3.0]],
            Self::ImpulseNoise => [&[0.03], &[0.06], &[0.09], &[0.17], &[0.27]],
            Self::DefocusBlur => [&[3.0, 0.1], &[4.0, 0.5], &[6.0, 0.5], &[8.0, 0.5], &[10.0, 0.5]],
            Self::GlassBlur => {
                [&[0.7, 1.0, 2.0], &[0.9, 2.0, 1.0], &[1.0, 2.0, 3.0], &[1.1, 3.0, 2.0], &[1.5, 4.0, 2.0]]
            }
            Self::MotionBlur => [&[10.0, 3.0], &[15.0, 5.0], &[15.0, 8.0], &[15.0, 12.0], &[20.0, 15.0]],
            Self::ZoomBlur => [&[1.11, 0.01], &[1.16, 0.01], &[1.21, 0.02], &[1.26, 0.02], &[1.31, 0.03]],
            Self::Snow => [
                &[0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8],
                &[0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7],
                &[0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7],
                &[0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65],
                &[0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55],
            ],
            Self::Frost => [&[1.0, 0.4], &[0.8, 0.6], &[0.7, 0.7], &[0.65, 0.7], &[0.6, 0.75]],
            Self::Fog => [&[1.5, 2.0], &[2.0, 2.0], &[2.5, 1.7], &[2.5, 1.5], &[3.0, 1.4]],
            Self::Brightness => [&[0.1], &[0.2], &[0.3], &[0.4], &[0.5]],
            Self::Contrast => [&[0.4], &[0.3], &[0.2], &[0.1], &[0.05]],
            // 244 is the generator's own number, at 224 pixels too.
            Self::ElasticTransform => [
                &[244.0 * 2.0, 244.0 * 0.7, 244.0 * 0.1],
                &[244.0 * 2.0, 244.0 * 0.08, 244.0 * 0.2],
                &[244.0 * 0.05, 244.0 * 0.01, 244.0 * 0.02],
                &[244.0 * 0.07, 244.0 * 0.01, 244.0 * 0.02],
                &[244.0 * 0.12, 244.0 * 0.01, 244.0 * 0.02],
            ],
            Self::Pixelate => [&[0.6], &[0.5], &[0.4], &[0.3], &[0.25]],
            Self::JpegCompression => [&[25.0], &[18.0], &[15.0], &[10.0], &[7.0]],
            Self::SpeckleNoise => [&[0.15], &[0.2], &[0.35], &[0.45], &[0.6]],
            Self::GaussianBlur => [&[1.0], &[2.0], &[3.0], &[4.0], &[6.0]],
            Self::Spatter => [
                &[0.65, 0.3, 4.0, 0.69, 0.6, 0.0],
                &[0.65, 0.3, 3.0, 0.68, 0.6, 0.0],
                &[0.65, 0.3, 2.0, 0.68, 0.5, 0.0],
                &[0.65, 0.3, 1.0, 0.65, 1.5, 1.0],
                &[0.67, 0.4, 1.0, 0.65, 1.5, 1.0],
            ],
            Self::Saturate => [&[0.3, 0.0], &[0.1, 0.0], &[2.0, 0.0], &[5.0, 0.1], &[20.0, 0.2]],
        }
    }
}
