//! The operations of RandAugment and of colour jitter: Pillow's, on 8-bit levels.

use super::super::pixels::Interpolation;
use super::levels::{Levels, real};

/// What is done to an image. Factors of 1 change nothing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Operation {
    /// Stretches each channel's levels to 0..=255.
    AutoContrast,
    /// Spreads each channel's levels evenly.
    Equalize,
    Invert,
    /// Degrees anticlockwise.
    Rotate(f64),
    /// Bits that are kept.
    Posterize(u32),
    /// First level that is inverted.
    Solarize(u32),
    /// What is added to levels below 128.
    SolarizeAdd(u32),
    /// Towards gray (below 1), or away from it.
    Color(f64),
    /// Towards the mean luma, or away from it.
    Contrast(f64),
    /// Towards black, or away from it.
    Brightness(f64),
    /// Towards the smoothed image, or away from it.
    Sharpness(f64),
    ShearX(f64),
    ShearY(f64),
    /// Shares of the width.
    TranslateX(f64),
    /// Shares of the height.
    TranslateY(f64),
}

/// Operations that timm's increasing set has.
pub(super) const OPERATIONS: u32 = 15;
/// The magnitude at which operations are strongest.
pub(super) const STRONGEST: f64 = 10.0;

impl Operation {
    /// Operation `number` of timm's increasing set at a magnitude of 0 to [`STRONGEST`], the other way where `negative`.
    pub fn at(number: u32, magnitude: f64, negative: bool) -> Self {
        let strength = magnitude / STRONGEST;
        let signed = |value: f64| if negative { -value } else { value };
        let factor = (1.0 + signed(strength * 0.9)).max(0.1);
        match number {
            0 => Self::AutoContrast,
            1 => Self::Equalize,
            2 => Self::Invert,
            3 => Self::Rotate(signed(strength * 30.0)),
            4 => Self::Posterize(4 - whole(strength * 4.0).min(4)),
            5 => Self::Solarize(256 - whole(strength * 256.0).min(256)),
            6 => Self::SolarizeAdd(whole(strength * 110.0).min(128)),
            7 => Self::Color(factor),
            8 => Self::Contrast(factor),
            9 => Self::Brightness(factor),
            10 => Self::Sharpness(factor),
            11 => Self::ShearX(signed(strength * 0.3)),
            12 => Self::ShearY(signed(strength * 0.3)),
            13 => Self::TranslateX(signed(strength * 0.45)),
            _ => Self::TranslateY(signed(strength * 0.45)),
        }
    }

    /// Changes `levels`; geometric operations read by `filter` and put `fill` (a level per channel) where no image was.
    pub fn apply(self, levels: &mut Levels, filter: Interpolation, fill: &[u8]) {
        let [height, width] = levels.size();
        match self {
            Self::AutoContrast => levels.map(stretched),
            Self::Equalize => levels.map(equalized),
            Self::Invert => levels.map(|_| table(|level| 255 - level)),
            Self::Posterize(bits) => levels.map(|_| table(|level| level & !(255 >> bits))),
            Self::Solarize(from) => levels.map(|_| table(|level| if level < from { level } else { 255 - level })),
            Self::SolarizeAdd(more) => levels.map(|_| table(|level| if level < 128 { level + more } else { level })),
            Self::Color(factor) => {
                let luma = levels.luma();
                levels.blend_plane(narrow(factor), &luma);
            }
            Self::Contrast(factor) => {
                let mean = mean(&levels.luma());
                levels.blend_plane(narrow(factor), &[mean]);
            }
            Self::Brightness(factor) => levels.blend_plane(narrow(factor), &[0]),
            Self::Sharpness(factor) => {
                let smooth = levels.smoothed();
                levels.blend(narrow(factor), smooth.iter());
            }
            Self::Rotate(degrees) => levels.warp(rotation(degrees, [height, width]), filter, fill),
            Self::ShearX(share) => levels.warp([1.0, share, 0.0, 0.0, 1.0, 0.0], filter, fill),
            Self::ShearY(share) => levels.warp([1.0, 0.0, 0.0, share, 1.0, 0.0], filter, fill),
            Self::TranslateX(share) => levels.warp([1.0, 0.0, share * real(width), 0.0, 1.0, 0.0], filter, fill),
            Self::TranslateY(share) => levels.warp([1.0, 0.0, 0.0, 0.0, 1.0, share * real(height)], filter, fill),
        }
    }
}

/// The whole part of a magnitude's share, as Python's `int` takes it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 256")]
fn whole(value: f64) -> u32 {
    value as u32
}

#[expect(clippy::cast_possible_truncation, reason = "Pillow blends in f32")]
fn narrow(factor: f64) -> f32 {
    factor as f32
}

/// The table of a function of levels; what exceeds 255 becomes 255.
fn table(of: impl Fn(u32) -> u32) -> [u8; 256] {
    let mut levels = 0..=u8::MAX;
    [(); 256].map(|()| u8::try_from(of(levels.next().map_or(0, u32::from))).unwrap_or(u8::MAX))
}

fn stretched(counts: &[u32; 256]) -> [u8; 256] {
    let used = |count: &u32| *count > 0;
    let (low, high) = (counts.iter().position(used).unwrap_or(0), counts.iter().rposition(used).unwrap_or(0));
    if high <= low {
        return table(|level| level);
    }
    let scale = 255.0 / real(high - low);
    let offset = -real(low) * scale;
    table(|level| whole((f64::from(level) * scale + offset).max(0.0)))
}

fn equalized(counts: &[u32; 256]) -> [u8; 256] {
    let last = counts.iter().rfind(|&&count| count > 0).copied().unwrap_or(0);
    let step = (counts.iter().sum::<u32>() - last) / 255;
    if step == 0 {
        return table(|level| level);
    }
    let below: Vec<u32> =
        counts.iter().scan(step / 2, |sum, &count| Some(std::mem::replace(sum, *sum + count))).collect();
    table(|level| below.get(level as usize).map_or(level, |sum| sum / step))
}

/// The mean, a half rounded up.
fn mean(plane: &[u8]) -> u8 {
    let sum = plane.iter().map(|&level| real(usize::from(level))).sum::<f64>();
    u8::try_from(whole(sum / real(plane.len().max(1)) + 0.5)).unwrap_or(u8::MAX)
}

/// From a position in the rotated image to that in the image, about its middle.
fn rotation(degrees: f64, [height, width]: [usize; 2]) -> [f64; 6] {
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let (cos, sin) = (rounded(libm::cos(angle)), rounded(libm::sin(angle)));
    let (x, y) = (real(width) / 2.0, real(height) / 2.0);
    [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y]
}

/// To 15 decimal places, as Pillow has it: so that a last bit of a cosine does not decide which pixels are inside.
fn rounded(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}
