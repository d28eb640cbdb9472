//! Augmentation of single images, and the settings of all augmentation.
//!
//! What happens to a sample is a function of (seed, epoch, sample id): neither the batch nor the threads enter.

use engine::rng::{Philox, Stream};
use engine::{Error, Result};

/// What is done to training images and targets. The default does nothing.
///
/// Order: random resized crop, pad and crop, flip, then over the batch mixup or CutMix.
#[derive(Clone, Copy, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Pads so many black pixels on each side and crops the old size anywhere (torchvision `RandomCrop(size, padding)`).
    pub crop_pad: usize,
    /// Mirrors half of the images left to right.
    pub flip: bool,
    /// Least and largest area of a crop, fractions of the image's, that is then resized bilinearly to the image's size;
    /// aspect ratio 3/4 to 4/3 (Szegedy et al., arXiv 1409.4842; torchvision `RandomResizedCrop`).
    pub random_resized_crop: Option<(f32, f32)>,
    /// Alpha of mixup's Beta(alpha, alpha) (Zhang et al., arXiv 1710.09412); 0 is off, 0.8 is DeiT's recipe.
    pub mixup: f32,
    /// Alpha of CutMix's Beta(alpha, alpha) (Yun et al., arXiv 1905.04899); 0 is off, 1 is DeiT's recipe.
    pub cutmix: f32,
    /// Probability that a batch is mixed at all.
    pub mix_prob: f32,
    /// With both mixup and CutMix on: probability of CutMix.
    pub switch_prob: f32,
    /// Label smoothing s: targets are `(1 - s) onehot + s / classes` (Szegedy et al., arXiv 1512.00567).
    pub smoothing: f32,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            crop_pad: 0,
            flip: false,
            random_resized_crop: None,
            mixup: 0.0,
            cutmix: 0.0,
            mix_prob: 1.0,
            switch_prob: 0.5,
            smoothing: 0.0,
        }
    }
}

/// Padding beyond which a crop could show nothing of any image that readers give.
const MAX_PAD: usize = 4096;
/// Elements of the crop's stream: two for pad and crop, one for the flip, then four per try of the resized crop.
const CROP_ELEMENT: usize = 4;
const CROP_TRIES: usize = 10;

impl Augment {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// One is out of range; the error names it.
    pub fn validate(&self) -> Result<()> {
        let refuse = |name: &str, range: &str, value: String| {
            Err(Error::new("augment", format!("`{name}` must lie in {range}")).with(name, value))
        };
        for (name, value) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(0.0..=1000.0).contains(&value) {
                return refuse(name, "[0, 1000]", value.to_string());
            }
        }
        for (name, value) in [("mix_prob", self.mix_prob), ("switch_prob", self.switch_prob)] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(name, "[0, 1]", value.to_string());
            }
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return refuse("smoothing", "[0, 1)", self.smoothing.to_string());
        }
        if self.crop_pad > MAX_PAD {
            return refuse("crop_pad", "0..=4096", self.crop_pad.to_string());
        }
        match self.random_resized_crop {
            Some((low, high)) if !(low > 0.0 && low <= high && high <= 1.0) => {
                refuse("random_resized_crop", "(0, 1], the smaller area first", format!("{low}, {high}"))
            }
            _ => Ok(()),
        }
    }

    /// Augments one `[c, h, w]` image in place. `scratch` is room that later calls reuse.
    pub fn apply(&self, image: &mut [f32], scratch: &mut Vec<f32>, dims: [usize; 3], seed: u64, epoch: u32, id: u32) {
        let draw = Philox::new(seed, epoch, Stream::named("augment.image"));
        let [_, height, width] = dims;
        if let Some(scale) = self.random_resized_crop {
            let crop = resized_crop(&draw, id, [height, width], scale);
            copy_to(scratch, image);
            resize(scratch, image, dims, crop);
        }
        if self.crop_pad > 0 {
            let shift = |element| {
                let choices = u32::try_from(2 * self.crop_pad + 1).unwrap_or(u32::MAX);
                draw.below(id, element, choices) as usize
            };
            copy_to(scratch, image);
            shift_with_zeros(scratch, image, dims, self.crop_pad, [shift(0), shift(1)]);
        }
        if self.flip && draw.uniform(id, 2) < 0.5 {
            image.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
    }

    /// Writes the target distribution of a sample of class `label`.
    pub fn target(&self, label: i32, target: &mut [f32]) {
        #[expect(clippy::cast_precision_loss, reason = "number of classes")]
        let off = self.smoothing / target.len().max(1) as f32;
        target.fill(off);
        if let Some(value) = usize::try_from(label).ok().and_then(|label| target.get_mut(label)) {
            *value += 1.0 - self.smoothing;
        }
    }
}

fn copy_to(scratch: &mut Vec<f32>, image: &[f32]) {
    scratch.clear();
    scratch.extend_from_slice(image);
}

/// `image(y, x) = source(y + down - pad, x + right - pad)`, 0 outside.
fn shift_with_zeros(source: &[f32], image: &mut [f32], dims: [usize; 3], pad: usize, [down, right]: [usize; 2]) {
    let [_, height, width] = dims;
    for (plane, target) in source.chunks_exact(height * width).zip(image.chunks_exact_mut(height * width)) {
        for (y, row) in target.chunks_exact_mut(width).enumerate() {
            let from = (y + down).checked_sub(pad).filter(|&from| from < height);
            let from = from.and_then(|from| plane.get(from * width..(from + 1) * width));
            for (x, value) in row.iter_mut().enumerate() {
                let column = (x + right).checked_sub(pad);
                *value = from.zip(column).and_then(|(row, column)| row.get(column)).copied().unwrap_or(0.0);
            }
        }
    }
}

/// Part of an image, pixels.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Crop {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

/// Draws area and aspect ratio until the crop fits; after ten tries the largest central crop of allowed ratio.
fn resized_crop(draw: &Philox, id: u32, [height, width]: [usize; 2], (low, high): (f32, f32)) -> Crop {
    const LOG_RATIO: f64 = 0.287_682_072_451_780_9; // ln(4/3)
    #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
    let (h, w) = (height as f64, width as f64);
    let between = |element, low: f64, high: f64| low + (high - low) * f64::from(draw.uniform(id, element));
    let position = |element, room: usize| draw.below(id, element, u32::try_from(room + 1).unwrap_or(u32::MAX)) as usize;
    for attempt in 0..CROP_TRIES {
        let element = CROP_ELEMENT * (attempt + 1);
        let area = h * w * between(element, f64::from(low), f64::from(high));
        let ratio = libm::exp(between(element + 1, -LOG_RATIO, LOG_RATIO));
        let (crop_width, crop_height) = (side((area * ratio).sqrt()), side((area / ratio).sqrt()));
        if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
            let top = position(element + 2, height - crop_height);
            let left = position(element + 3, width - crop_width);
            return Crop { top, left, height: crop_height, width: crop_width };
        }
    }
    let ratio = w / h;
    let crop_height = if ratio < 0.75 { side(w / 0.75).min(height) } else { height };
    let crop_width = if ratio > 4.0 / 3.0 { side(h * 4.0 / 3.0).min(width) } else { width };
    Crop { top: (height - crop_height) / 2, left: (width - crop_width) / 2, height: crop_height, width: crop_width }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive side in pixels")]
fn side(length: f64) -> usize {
    length.round() as usize
}

/// Bilinear, pixel centres at halves, edges repeated. A crop is never larger than the image, so nothing shrinks and no
/// antialiasing is due.
fn resize(source: &[f32], image: &mut [f32], dims: [usize; 3], crop: Crop) {
    let [_, height, width] = dims;
    let (rows, columns) = (taps(crop.top, crop.height, height), taps(crop.left, crop.width, width));
    for (plane, target) in source.chunks_exact(height * width).zip(image.chunks_exact_mut(height * width)) {
        let value = |y: usize, x: usize| plane.get(y * width + x).copied().unwrap_or(0.0);
        for (out_row, &(y0, y1, down)) in target.chunks_exact_mut(width).zip(&rows) {
            for (out, &(x0, x1, right)) in out_row.iter_mut().zip(&columns) {
                let top = value(y0, x0) + (value(y0, x1) - value(y0, x0)) * right;
                let bottom = value(y1, x0) + (value(y1, x1) - value(y1, x0)) * right;
                *out = top + (bottom - top) * down;
            }
        }
    }
}

/// For each of `out` positions the two source positions and the weight of the second.
fn taps(start: usize, length: usize, out: usize) -> Vec<(usize, usize, f32)> {
    #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
    let scale = length as f32 / out as f32;
    let last = length.saturating_sub(1);
    let tap = |position: usize| {
        #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
        let at = ((position as f32 + 0.5) * scale - 0.5).clamp(0.0, last as f32);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and last")]
        let low = at as usize;
        #[expect(clippy::cast_precision_loss, reason = "sides in pixels")]
        let weight = at - low as f32;
        (start + low, start + (low + 1).min(last), weight)
    };
    (0..out).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ramp(dims: [usize; 3]) -> Vec<f32> {
        let count = dims.iter().product::<usize>();
        (0..count).map(|i| (i + 1) as f32 / count as f32).collect()
    }

    #[test]
    fn the_default_does_nothing_and_toml_gives_the_rest() {
        let image = ramp([3, 5, 4]);
        let mut out = image.clone();
        Augment::default().apply(&mut out, &mut Vec::new(), [3, 5, 4], 1, 2, 3);
        assert_eq!(out, image);
        let text = "crop_pad = 4\nflip = true\nrandom_resized_crop = [0.5, 1.0]\nmixup = 0.8";
        let parsed: Augment = toml::from_str(text).unwrap();
        let expected = Augment {
            crop_pad: 4,
            flip: true,
            random_resized_crop: Some((0.5, 1.0)),
            mixup: 0.8,
            ..Augment::default()
        };
        assert_eq!(parsed, expected);
        assert!(toml::from_str::<Augment>("mixupp = 0.8").unwrap_err().to_string().contains("mixupp"));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let none = Augment::default();
        for (name, augment) in [
            ("mixup", Augment { mixup: -1.0, ..none }),
            ("cutmix", Augment { cutmix: f32::NAN, ..none }),
            ("mix_prob", Augment { mix_prob: 1.5, ..none }),
            ("switch_prob", Augment { switch_prob: -0.5, ..none }),
            ("smoothing", Augment { smoothing: 1.0, ..none }),
            ("crop_pad", Augment { crop_pad: 5000, ..none }),
            ("random_resized_crop", Augment { random_resized_crop: Some((0.9, 0.5)), ..none }),
            ("random_resized_crop", Augment { random_resized_crop: Some((0.0, 0.5)), ..none }),
        ] {
            assert!(augment.validate().unwrap_err().to_string().contains(&format!("`{name}`")), "{name}");
        }
        assert!(none.validate().is_ok());
    }

    #[test]
    fn flips_half_of_the_samples_and_mirrors_rows() {
        let augment = Augment { flip: true, ..Augment::default() };
        let (mut flipped, mut scratch) = (0, Vec::new());
        for id in 0..400 {
            let mut image = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
            augment.apply(&mut image, &mut scratch, [1, 2, 3], 9, 0, id);
            let mirrored = image == [3.0, 2.0, 1.0, 6.0, 5.0, 4.0];
            assert!(mirrored || image == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            flipped += usize::from(mirrored);
        }
        // Four standard deviations of a fair coin.
        assert!((160..=240).contains(&flipped), "{flipped}");
    }

    #[test]
    fn resizing_a_whole_image_changes_nothing_and_twice_the_size_interpolates() {
        let image = ramp([2, 4, 6]);
        let mut out = vec![0.0; 48];
        resize(&image, &mut out, [2, 4, 6], Crop { top: 0, left: 0, height: 4, width: 6 });
        assert_eq!(out, image);
        let source = [0.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0];
        let mut out = vec![0.0; 8];
        resize(&source, &mut out, [1, 2, 4], Crop { top: 0, left: 0, height: 1, width: 2 });
        assert_eq!(out, [0.0, 0.25, 0.75, 1.0, 0.0, 0.25, 0.75, 1.0]);
    }

    proptest! {
        #[test]
        fn pad_and_crop_shows_a_window_of_the_padded_image(
            height in 1_usize..7, width in 1_usize..7, pad in 1_usize..5, seed: u64, id: u32,
        ) {
            let dims = [2, height, width];
            let image = ramp(dims);
            let mut out = image.clone();
            Augment { crop_pad: pad, ..Augment::default() }.apply(&mut out, &mut Vec::new(), dims, seed, 0, id);
            let at = |plane: usize, y: usize, x: usize| {
                let inside = (pad..pad + height).contains(&y) && (pad..pad + width).contains(&x);
                if inside { image[(plane * height + y - pad) * width + x - pad] } else { 0.0 }
            };
            let window = |down: usize, right: usize| {
                (0..out.len()).all(|i| out[i] == at(i / (height * width), i / width % height + down, i % width + right))
            };
            prop_assert!((0..=2 * pad).any(|down| (0..=2 * pad).any(|right| window(down, right))));
        }

        #[test]
        fn resized_crops_fit_and_keep_constants_and_bounds(
            height in 1_usize..40, width in 1_usize..40, low in 0.05_f32..1.0, seed: u64, id: u32,
        ) {
            let draw = Philox::new(seed, 0, Stream::named("augment.image"));
            let crop = resized_crop(&draw, id, [height, width], (low, 1.0));
            prop_assert!(crop.height >= 1 && crop.width >= 1);
            prop_assert!(crop.top + crop.height <= height && crop.left + crop.width <= width);
            let augment = Augment { random_resized_crop: Some((low, 1.0)), ..Augment::default() };
            let mut constant = vec![0.3; height * width];
            augment.apply(&mut constant, &mut Vec::new(), [1, height, width], seed, 0, id);
            prop_assert!(constant.iter().all(|&v| v == 0.3));
            let image = ramp([1, height, width]);
            let mut out = image.clone();
            augment.apply(&mut out, &mut Vec::new(), [1, height, width], seed, 0, id);
            prop_assert!(out.iter().all(|&v| v >= image[0] - 1e-6 && v <= 1.0 + 1e-6));
        }

        #[test]
        fn targets_sum_to_1_and_smoothing_leaves_the_label_on_top(classes in 2_usize..200, smoothing in 0.0_f32..0.9, at: prop::sample::Index) {
            let label = at.index(classes);
            let mut target = vec![7.0; classes];
            Augment { smoothing, ..Augment::default() }.target(i32::try_from(label).unwrap(), &mut target);
            prop_assert!((target.iter().map(|&v| f64::from(v)).sum::<f64>() - 1.0).abs() < 1e-5);
            prop_assert!(target.iter().enumerate().all(|(i, &v)| i == label || v < target[label]));
        }
    }

    /// Areas of square images' crops: uniform over the range, up to rounding and the tries that didn't fit.
    #[test]
    fn crops_cover_the_range_of_areas() {
        let draw = Philox::new(3, 1, Stream::named("augment.image"));
        let areas: Vec<f64> = (0..500)
            .map(|id| resized_crop(&draw, id, [100, 100], (0.2, 0.6)))
            .map(|crop| (crop.height * crop.width) as f64 / 1e4)
            .collect();
        let mean = areas.iter().sum::<f64>() / 500.0;
        assert!((mean - 0.4).abs() < 4.0 * 0.4 / (12.0_f64 * 500.0).sqrt(), "{mean}");
        assert!(areas.iter().all(|&area| (0.19..0.61).contains(&area)));
    }
}
