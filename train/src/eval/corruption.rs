//! Common corruptions at five severities: a subset of CIFAR-C and ImageNet-C.
//!
//! Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019. Images
//! of at most 64 pixels a side take the constants of CIFAR-C, larger ones those of ImageNet-C.
//!
//! As there, a corruption maps 8-bit images to 8-bit images: pixels are rounded to levels first, computed with in f64, and
//! *truncated* to levels at the end, so that a value that rounding left a hair below a level falls to the one below (a
//! blurred white area may read 254). Unlike ImageNet-C, nothing is compressed to JPEG. The noise is a function of seed,
//! severity, sample and pixel, not of order or batch.

use std::fmt;
use std::str::FromStr;

use engine::rng::{Philox, Stream};
use engine::{Error, Result};

/// Images up to this side take the constants of CIFAR-C.
pub const SMALL_SIDE: usize = 64;

/// The severities, mild to strong.
pub const SEVERITIES: std::ops::RangeInclusive<u8> = 1..=5;

/// A corruption, named as in the benchmarks' files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Corruption {
    /// `x + c N(0, 1)`, independent for each pixel and channel.
    GaussianNoise,
    /// Gaussian blur of standard deviation c pixels, cut at 4 of them; the border pixel continues outward.
    GaussianBlur,
    /// The V of HSV, the largest channel, rises by c.
    Brightness,
    /// `(x - mean) c + mean` with the mean of each channel of the image.
    Contrast,
    /// Shrunk to `floor(c side)` pixels and enlarged again, both by a box filter (Pillow's, in 8-bit arithmetic).
    Pixelate,
}

impl Corruption {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::GaussianNoise, Self::GaussianBlur, Self::Brightness, Self::Contrast, Self::Pixelate];

    /// `gaussian_noise`, `gaussian_blur`, `brightness`, `contrast`, `pixelate`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GaussianNoise => "gaussian_noise",
            Self::GaussianBlur => "gaussian_blur",
            Self::Brightness => "brightness",
            Self::Contrast => "contrast",
            Self::Pixelate => "pixelate",
        }
    }

    /// The constant c of a severity in 1..=5, for images of at most [`SMALL_SIDE`] pixels a side (`small`) or larger ones.
    ///
    /// # Errors
    /// A severity outside 1..=5.
    pub fn strength(self, severity: u8, small: bool) -> Result<f64> {
        let constants: [f64; 5] = match (self, small) {
            (Self::GaussianNoise, true) => [0.04, 0.06, 0.08, 0.09, 0.10],
            (Self::GaussianNoise, false) => [0.08, 0.12, 0.18, 0.26, 0.38],
            (Self::GaussianBlur, true) => [0.4, 0.6, 0.7, 0.8, 1.0],
            (Self::GaussianBlur, false) => [1.0, 2.0, 3.0, 4.0, 6.0],
            (Self::Brightness, true) => [0.05, 0.1, 0.15, 0.2, 0.3],
            (Self::Brightness, false) => [0.1, 0.2, 0.3, 0.4, 0.5],
            (Self::Contrast, true) => [0.75, 0.5, 0.4, 0.3, 0.15],
            (Self::Contrast, false) => [0.4, 0.3, 0.2, 0.1, 0.05],
            (Self::Pixelate, true) => [0.95, 0.9, 0.85, 0.75, 0.65],
            (Self::Pixelate, false) => [0.6, 0.5, 0.4, 0.3, 0.25],
        };
        let index = usize::from(severity).checked_sub(1);
        index.and_then(|index| constants.get(index).copied()).ok_or_else(|| {
            Error::new(self.name(), "the severity must be a whole number from 1 to 5").with("severity", severity)
        })
    }

    /// Corrupts an image `[c, h, w]` of pixels in [0, 1], with 1 or 3 channels. The result is a whole number of levels / 255.
    ///
    /// # Errors
    /// Another number of channels or values, an empty image, a pixel outside [0, 1], or a severity outside 1..=5. The image is
    /// then untouched.
    pub fn apply(self, image: &mut [f32], dims: [usize; 3], severity: u8, seed: u64, sample: u32) -> Result<()> {
        let [channels, height, width] = dims;
        let strength = self.strength(severity, height.max(width) <= SMALL_SIDE)?;
        let mut levels = self.levels(image, dims)?;
        let size = [height, width];
        match self {
            Self::Pixelate => {
                for plane in levels.chunks_exact_mut(height * width) {
                    plane.copy_from_slice(&pixelate(plane, size, strength));
                }
            }
            Self::GaussianNoise => {
                let philox = Philox::new(seed, u32::from(severity), Stream::named("corruption.gaussian_noise"));
                let add = |at: usize, x: f64| x + strength * f64::from(philox.normal(sample, at));
                let values: Vec<f64> = unit(&levels).iter().enumerate().map(|(at, &x)| add(at, x)).collect();
                truncate(&values, &mut levels);
            }
            Self::GaussianBlur => {
                let values: Vec<f64> =
                    unit(&levels).chunks_exact(height * width).flat_map(|plane| blur(plane, size, strength)).collect();
                truncate(&values, &mut levels);
            }
            Self::Contrast => {
                let mut values = unit(&levels);
                for plane in values.chunks_exact_mut(height * width) {
                    #[expect(clippy::cast_precision_loss, reason = "pixels are fewer than 2^53")]
                    let mean = plane.iter().sum::<f64>() / plane.len() as f64;
                    plane.iter_mut().for_each(|x| *x = (*x - mean) * strength + mean);
                }
                truncate(&values, &mut levels);
            }
            Self::Brightness => {
                let mut values = unit(&levels);
                brighten(&mut values, channels, strength);
                truncate(&values, &mut levels);
            }
        }
        for (pixel, level) in image.iter_mut().zip(levels) {
            *pixel = f32::from(level) / 255.0;
        }
        Ok(())
    }

    /// Pixels rounded to 8 bits.
    fn levels(self, image: &[f32], dims: [usize; 3]) -> Result<Vec<u8>> {
        let [channels, height, width] = dims;
        let error = |problem: &str| Error::new(self.name(), problem).with("image [c, h, w]", format!("{dims:?}"));
        let count = height.checked_mul(width).and_then(|area| area.checked_mul(channels));
        if !matches!(channels, 1 | 3) {
            return Err(error("takes images of 1 or 3 channels"));
        }
        if count != Some(image.len()) || image.is_empty() {
            return Err(error("the number of values does not match the shape").with("values", image.len()));
        }
        if let Some((at, value)) = image.iter().enumerate().find(|(_, value)| !(0.0..=1.0).contains(*value)) {
            return Err(error("a pixel is outside [0, 1]").with("index", at).with("value", value));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=255, checked above")]
        let level = |value: &f32| (value * 255.0).round() as u8;
        Ok(image.iter().map(level).collect())
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
        Self::ALL.into_iter().find(|corruption| corruption.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new("corruption", "there is none of that name")
                .with("name", name)
                .help(format!("choose from {names}"))
        })
    }
}

fn unit(levels: &[u8]) -> Vec<f64> {
    levels.iter().map(|&level| f64::from(level) / 255.0).collect()
}

fn truncate(values: &[f64], levels: &mut [u8]) {
    for (level, value) in levels.iter_mut().zip(values) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the benchmarks truncate; 0..=255")]
        let truncated = (value.clamp(0.0, 1.0) * 255.0) as u8;
        *level = truncated;
    }
}

/// Separable gaussian filter, columns first, as scipy's `gaussian_filter` with mode `nearest`.
fn blur(plane: &[f64], [height, width]: [usize; 2], sigma: f64) -> Vec<f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sigma is a constant of at most 6")]
    let radius = (4.0 * sigma + 0.5) as usize;
    #[expect(clippy::cast_precision_loss, reason = "at most 24")]
    let mut weights: Vec<f64> =
        (0..=radius).map(|distance| (-0.5 / (sigma * sigma) * (distance * distance) as f64).exp()).collect();
    let total: f64 = weights.iter().skip(1).rev().chain(&weights).sum();
    weights.iter_mut().for_each(|weight| *weight /= total);
    // Pairs from the outside in: the reference's order, which truncation makes visible.
    let filter = |line: &dyn Fn(usize) -> f64, at: usize, length: usize| {
        let (inner, outer) = (weights.first().copied().unwrap_or(1.0), weights.iter().enumerate().skip(1).rev());
        outer.fold(line(at) * inner, |sum, (distance, weight)| {
            sum + (line(at.saturating_sub(distance)) + line((at + distance).min(length - 1))) * weight
        })
    };
    let pixels = || (0..height * width).map(|at| (at / width, at % width));
    let down: Vec<f64> = pixels().map(|(y, x)| filter(&|y| plane[y * width + x], y, height)).collect();
    pixels().map(|(y, x)| filter(&|x| down[y * width + x], x, width)).collect()
}

/// Raises the V of HSV by `by`, keeping hue and saturation: `values` is `[c, h, w]`.
fn brighten(values: &mut [f64], channels: usize, by: f64) {
    let area = values.len() / channels;
    for at in 0..area {
        if channels == 1 {
            values[at] += by; // grey: V is the level itself
            continue;
        }
        let [r, g, b] = [values[at], values[area + at], values[2 * area + at]];
        let (v, least) = (r.max(g).max(b), r.min(g).min(b));
        let span = v - least;
        let saturation = if span == 0.0 { 0.0 } else { span / v };
        // Where channels tie for the largest, the last one decides.
        let sextants = match () {
            () if span == 0.0 => 0.0,
            () if b == v => 4.0 + (r - g) / span,
            () if g == v => 2.0 + (b - r) / span,
            () => (g - b) / span,
        };
        let hue = (sextants / 6.0).rem_euclid(1.0) * 6.0;
        let v = (v + by).clamp(0.0, 1.0);
        let (sector, f) = (hue.floor(), hue - hue.floor());
        let p = v * (1.0 - saturation);
        let q = v * (1.0 - f * saturation);
        let t = v * (1.0 - (1.0 - f) * saturation);
        let rgb = match sector {
            1.0 => [q, v, p],
            2.0 => [p, v, t],
            3.0 => [p, q, v],
            4.0 => [t, p, v],
            5.0 => [v, p, q],
            _ => [v, t, p],
        };
        for (channel, value) in rgb.into_iter().enumerate() {
            values[channel * area + at] = value;
        }
    }
}

/// Down to `floor(factor side)` and up again.
fn pixelate(plane: &[u8], [height, width]: [usize; 2], factor: f64) -> Vec<u8> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a fraction of a side"
    )]
    let shrunk = |side: usize| ((side as f64 * factor) as usize).max(1);
    let small = [shrunk(height), shrunk(width)];
    box_resize(&box_resize(plane, [height, width], small), small, [height, width])
}

/// Pillow's `resize` with `BOX` on 8-bit pixels: rows first, then columns, rounded to 8 bits after each.
fn box_resize(plane: &[u8], [height, width]: [usize; 2], [to_height, to_width]: [usize; 2]) -> Vec<u8> {
    let rows = box_weights(width, to_width);
    let wide: Vec<u8> = (0..height * to_width)
        .map(|at| {
            let (start, weights) = &rows[at % to_width];
            weighted(plane.iter().skip(at / to_width * width + start), weights)
        })
        .collect();
    let columns = box_weights(height, to_height);
    let pixel = |at: usize| {
        let (start, weights) = &columns[at / to_width];
        weighted(wide.iter().skip(start * to_width + at % to_width).step_by(to_width), weights)
    };
    (0..to_height * to_width).map(pixel).collect()
}

/// Fraction bits of the fixed-point weights.
const WEIGHT_BITS: u32 = 22;

fn weighted<'a>(pixels: impl Iterator<Item = &'a u8>, weights: &[u32]) -> u8 {
    let sum: u32 = pixels.zip(weights).map(|(&pixel, weight)| u32::from(pixel) * weight).sum();
    u8::try_from((sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS).unwrap_or(u8::MAX)
}

/// For each output pixel: the first input pixel, and the fixed-point weights from there on. Pixels whose centre lies in the box
/// weigh alike: there is no partial coverage.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sides in pixels"
)]
fn box_weights(from: usize, to: usize) -> Vec<(usize, Vec<u32>)> {
    let scale = from as f64 / to as f64;
    let wide = scale.max(1.0);
    let weights_of = |out: usize| {
        let centre = (out as f64 + 0.5) * scale;
        let start = (centre - 0.5 * wide + 0.5).max(0.0) as usize;
        let end = ((centre + 0.5 * wide + 0.5) as usize).min(from);
        let inside = |at: usize| {
            let offset = (at as f64 - centre + 0.5) * (1.0 / wide);
            offset > -0.5 && offset <= 0.5
        };
        let count = (start..end).filter(|&at| inside(at)).count();
        let one = (0.5 + 1.0 / count as f64 * f64::from(1_u32 << WEIGHT_BITS)) as u32;
        (start, (start..end).map(|at| if inside(at) { one } else { 0 }).collect())
    };
    (0..to).map(weights_of).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn corrupt(corruption: Corruption, image: &[f32], dims: [usize; 3], severity: u8) -> Vec<u8> {
        let mut image = image.to_vec();
        corruption.apply(&mut image, dims, severity, 1, 0).unwrap();
        bytes(&image)
    }

    /// The exact levels of an image; fails where a pixel isn't one.
    fn bytes(image: &[f32]) -> Vec<u8> {
        let levels: Vec<u8> = image.iter().map(|x| (0..=255).find(|&v| f32::from(v) / 255.0 == *x).unwrap()).collect();
        assert_eq!(levels.len(), image.len());
        levels
    }

    fn image(levels: &[u8]) -> Vec<f32> {
        levels.iter().map(|&level| f32::from(level) / 255.0).collect()
    }

    fn fnv1a(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3))
    }

    /// The libraries that the benchmarks' authors used give the same bytes: hashes of the five severities one after the other,
    /// from scikit-image 0.26 (`filters.gaussian`, `color.rgb2hsv`, `color.hsv2rgb`), NumPy 2.4 and Pillow 13 (`resize` with `BOX`).
    #[test]
    fn equal_to_the_authors_libraries_bit_for_bit() {
        use Corruption::{Brightness, Contrast, GaussianBlur, Pixelate};
        let known = [
            (GaussianBlur, 0xA045_9A58_94F8_1F40_u64, 0x724F_5E41_37C7_0133_u64),
            (Brightness, 0x7ACF_9BEC_EC96_0785, 0x2D20_F1C7_7199_C771),
            (Contrast, 0xC80C_3D27_BEC0_72E8, 0xAB6A_F642_F880_E6A4),
            (Pixelate, 0xA52D_363C_0FD1_B119, 0xEC06_D758_515C_1E08),
        ];
        for (corruption, small, large) in known {
            for (dims, hash) in [([3, 32, 32], small), ([1, 70, 66], large)] {
                let count = dims.iter().product::<usize>();
                let levels: Vec<u8> =
                    (0..count).map(|i| u8::try_from((i * i * 7 + i * 13) / 3 % 256).unwrap()).collect();
                let all: Vec<u8> = SEVERITIES.flat_map(|s| corrupt(corruption, &image(&levels), dims, s)).collect();
                assert_eq!(fnv1a(&all), hash, "{corruption} of {dims:?}");
            }
        }
    }

    #[test]
    fn hand_computed_contrast_and_brightness() {
        // Mean 100: 50 and 150 move to 100 -+ 37.5, truncated.
        assert_eq!(corrupt(Corruption::Contrast, &image(&[50, 150]), [1, 1, 2], 1), [62, 137]);
        // 0.05 is 12.75 levels, and V ends at 255.
        assert_eq!(corrupt(Corruption::Brightness, &image(&[0, 100, 250]), [1, 1, 3], 1), [12, 112, 255]);
        // V from 200 to 212.75: the ratios of the channels stay. 100 -> 106.375, 50 -> 53.19.
        assert_eq!(corrupt(Corruption::Brightness, &image(&[200, 100, 50]), [3, 1, 1], 1), [212, 106, 53]);
        assert_eq!(corrupt(Corruption::Brightness, &image(&[50, 200, 100]), [3, 1, 1], 1), [53, 212, 106]);
        assert_eq!(corrupt(Corruption::Brightness, &image(&[100, 50, 200]), [3, 1, 1], 1), [106, 53, 212]);
        assert_eq!(corrupt(Corruption::Brightness, &image(&[0, 0, 0]), [3, 1, 1], 5), [76, 76, 76]);
    }

    #[test]
    fn hand_computed_blur_of_a_point_and_of_an_edge() {
        // sigma 0.4: weights 1, e^-3.125, e^-12.5 on both sides; the centre keeps (1 / 1.08788)^2 of 255.
        let mut point = vec![0; 25];
        point[12] = 255;
        let blurred = corrupt(Corruption::GaussianBlur, &image(&point), [1, 5, 5], 1);
        assert_eq!(blurred[12], 215);
        assert_eq!([blurred[7], blurred[11], blurred[13], blurred[17]], [9; 4]);
        // At the border the image continues: a column of white at the edge loses to one side only.
        let edge = corrupt(Corruption::GaussianBlur, &image(&[255, 0, 0, 255, 0, 0]), [1, 2, 3], 1);
        assert_eq!(edge, [244, 10, 0, 244, 10, 0]);
    }

    #[test]
    fn pixelate_averages_whole_blocks() {
        // ImageNet-C, severity 2: half of 128 pixels, so blocks of 2 x 2.
        let (side, dims) = (128, [1, 128, 128]);
        let levels: Vec<u8> = (0..side * side).map(|i| u8::try_from(i * 37 % 251).unwrap()).collect();
        let out = corrupt(Corruption::Pixelate, &image(&levels), dims, 2);
        for (y, x) in (0..side).step_by(2).flat_map(|y| (0..side).step_by(2).map(move |x| (y, x))) {
            let at = |dy: usize, dx: usize| (y + dy) * side + x + dx;
            let half =
                |dy: usize| (f64::from(levels[at(dy, 0)]) / 2.0 + f64::from(levels[at(dy, 1)]) / 2.0 + 0.5).floor();
            let block = (half(0) / 2.0 + half(1) / 2.0 + 0.5).floor();
            assert!([at(0, 0), at(0, 1), at(1, 0), at(1, 1)].iter().all(|&i| f64::from(out[i]) == block), "{y} {x}");
        }
    }

    #[test]
    fn noise_has_its_deviation_and_depends_on_nothing_but_its_key() {
        let dims = [3, 64, 64];
        for severity in SEVERITIES {
            let strength = Corruption::GaussianNoise.strength(severity, true).unwrap();
            let noisy = corrupt(Corruption::GaussianNoise, &image(&[128; 3 * 64 * 64]), dims, severity);
            let offset = |v: &u8| (f64::from(*v) + 0.5 - 128.0) / 255.0;
            let moment = |k: i32| noisy.iter().map(|v| offset(v).powi(k)).sum::<f64>() / noisy.len() as f64;
            // Five standard errors of mean and variance at 12,288 draws.
            assert!(
                moment(1).abs() < 0.046 * strength && (moment(2) / strength.powi(2) - 1.0).abs() < 0.066,
                "{severity}"
            );
        }
        let draw = |seed, sample, severity| {
            let mut grey = vec![0.5; 12];
            Corruption::GaussianNoise.apply(&mut grey, [3, 2, 2], severity, seed, sample).unwrap();
            grey
        };
        assert_eq!(draw(1, 7, 3), draw(1, 7, 3));
        assert!(draw(1, 7, 3) != draw(2, 7, 3) && draw(1, 7, 3) != draw(1, 8, 3) && draw(1, 7, 4) != draw(1, 7, 5));
    }

    #[test]
    fn bad_input_is_refused_and_left_alone() {
        let mut pixels = [0.25, 1.5];
        for (dims, severity) in [([1, 1, 2], 1), ([1, 1, 1], 1), ([2, 1, 1], 1), ([1, 1, 2], 0), ([1, 1, 2], 6)] {
            assert!(Corruption::Contrast.apply(&mut pixels, dims, severity, 0, 0).is_err(), "{dims:?} {severity}");
        }
        assert!(Corruption::Contrast.apply(&mut [f32::NAN], [1, 1, 1], 1, 0, 0).is_err());
        assert!(Corruption::Contrast.apply(&mut [], [1, 0, 0], 1, 0, 0).is_err());
        assert_eq!(pixels, [0.25, 1.5]);
        for corruption in Corruption::ALL {
            assert_eq!(corruption.name().parse::<Corruption>().unwrap(), corruption);
        }
        assert!("fog".parse::<Corruption>().unwrap_err().to_string().contains("pixelate"));
    }

    proptest! {
        /// Grey images give the same in one channel and in three; constant images keep their level but for truncation.
        #[test]
        fn channels_agree_and_constants_stay(
            (height, width) in (1..20_usize, 1..20_usize),
            severity in 1..=5_u8,
            level in any::<u8>(),
            levels in prop::collection::vec(any::<u8>(), 400),
        ) {
            use Corruption::{Brightness, Contrast, GaussianBlur, Pixelate};
            let plane = image(&levels[..height * width]);
            let triple = plane.repeat(3);
            for corruption in [Brightness, Contrast, GaussianBlur, Pixelate] {
                let one = corrupt(corruption, &plane, [1, height, width], severity);
                prop_assert_eq!(corrupt(corruption, &triple, [3, height, width], severity), one.repeat(3));
            }
            let flat = image(&vec![level; height * width]);
            for corruption in [Contrast, GaussianBlur, Pixelate] {
                for out in corrupt(corruption, &flat, [1, height, width], severity) {
                    prop_assert!(out == level || out + 1 == level, "{} {} {}", corruption, level, out);
                }
            }
        }

        /// Blur keeps the mean of a picture whose border is far away, and lowers its variance.
        #[test]
        fn blur_keeps_the_mean(inner in prop::collection::vec(any::<u8>(), 64), severity in 1..=5_u8) {
            let mut levels = vec![100; 24 * 24];
            for (at, &level) in inner.iter().enumerate() {
                levels[(8 + at / 8) * 24 + 8 + at % 8] = level;
            }
            let mean = |levels: &[u8]| levels.iter().map(|&v| f64::from(v)).sum::<f64>() / levels.len() as f64;
            let spread = |levels: &[u8]| {
                let mean = mean(levels);
                levels.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>()
            };
            let out = corrupt(Corruption::GaussianBlur, &image(&levels), [1, 24, 24], severity);
            let lost = mean(&levels) - mean(&out);
            prop_assert!((-1e-9..1.0).contains(&lost), "truncation loses less than a level: {}", lost);
            prop_assert!(spread(&out) <= spread(&levels));
        }
    }
}
