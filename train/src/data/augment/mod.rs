//! Augmentation of single images, and the settings of all augmentation.
//!
//! What happens to a sample is a function of (seed, epoch, sample id): neither the batch nor the threads enter.

mod crop;
mod erase;
#[cfg(test)]
mod golden_tests;
mod jitter;
mod levels;
mod operation;
mod rand_augment;

use engine::rng::{Philox, Stream};
use engine::{Error, Result};
use models::Normalisation;

use crop::{copy_to, resize, resized_crop, shift_with_zeros};
use levels::Levels;
pub use rand_augment::RandAugment;

/// What is done to training images and targets. The default does nothing.
///
/// Order: random resized crop, pad and crop, flip, RandAugment or colour jitter, random erasing, then over the batch mixup or
/// CutMix. RandAugment and colour jitter work on 8-bit levels: where one of them is on, every image is rounded to them.
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
    /// RandAugment, configured as in timm; gray images stay gray.
    pub rand_augment: Option<RandAugment>,
    /// Brightness, contrast and saturation change by factors of [1 - s, 1 + s], in random order; 0 is off, 0.4 is timm's.
    /// timm has no jitter where it has RandAugment: both together are refused.
    pub color_jitter: f32,
    /// Probability that a box of an image becomes noise (timm's mode `pixel`); 0 is off, 0.25 is DeiT's recipe.
    pub random_erasing: f32,
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
            rand_augment: None,
            color_jitter: 0.0,
            random_erasing: 0.0,
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

/// Room that the augmentation of one image leaves to that of the next.
#[derive(Default)]
pub struct Scratch {
    floats: Vec<f32>,
    levels: Levels,
}

/// What decides the draws of an image.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Key {
    /// Of the run.
    pub seed: u64,
    /// From 0.
    pub epoch: u32,
    /// The sample's.
    pub id: u32,
}

impl Key {
    fn draws(self, stream: &str) -> Draws {
        Draws { philox: Philox::new(self.seed, self.epoch, Stream::named(stream)), id: self.id }
    }
}

/// Values of a stream for one sample.
#[derive(Clone, Copy)]
struct Draws {
    philox: Philox,
    id: u32,
}

impl Draws {
    fn bits(self, element: usize) -> u32 {
        self.philox.bits(self.id, element)
    }

    fn uniform(self, element: usize) -> f64 {
        f64::from(self.philox.uniform(self.id, element))
    }

    fn normal(self, element: usize) -> f64 {
        f64::from(self.philox.normal(self.id, element))
    }

    fn below(self, element: usize, bound: u32) -> u32 {
        self.philox.below(self.id, element, bound)
    }
}

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
        for (name, value) in [
            ("mix_prob", self.mix_prob),
            ("switch_prob", self.switch_prob),
            ("color_jitter", self.color_jitter),
            ("random_erasing", self.random_erasing),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(name, "[0, 1]", value.to_string());
            }
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return refuse("smoothing", "[0, 1)", self.smoothing.to_string());
        }
        if let Some(rand_augment) = self.rand_augment
            && self.color_jitter > 0.0
        {
            return Err(Error::new("augment", "colour jitter is for training without RandAugment, as in timm")
                .with("rand_augment", rand_augment)
                .with("color_jitter", self.color_jitter)
                .help("leave one of them out: --rand-augment none, or --color-jitter 0"));
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

    /// Whether images are to be rounded to 8-bit levels, of 1 or 3 channels.
    pub(super) fn works_on_levels(&self) -> bool {
        self.rand_augment.is_some() || self.color_jitter > 0.0
    }

    /// Whether an image's new pixels depend on the model's normalisation.
    pub(super) fn needs_normalisation(&self) -> bool {
        self.rand_augment.is_some() || self.random_erasing > 0.0
    }

    /// Augments one `[c, h, w]` image in place. `normalisation` gives the fill of RandAugment and the noise of erasing.
    pub fn apply(
        &self,
        image: &mut [f32],
        scratch: &mut Scratch,
        dims: [usize; 3],
        normalisation: &Normalisation,
        key: Key,
    ) {
        self.place(image, &mut scratch.floats, dims, key);
        if self.works_on_levels() {
            self.recolour(image, &mut scratch.levels, dims, normalisation, key);
        }
        let [_, height, width] = dims;
        if let Some(region) = erase::region(self.random_erasing, key.draws("augment.erase"), [height, width]) {
            erase::fill(region, image, dims, normalisation, key.draws("augment.erase.noise"));
        }
    }

    /// Crops and flips.
    fn place(&self, image: &mut [f32], scratch: &mut Vec<f32>, dims: [usize; 3], Key { seed, epoch, id }: Key) {
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

    /// RandAugment or colour jitter.
    fn recolour(
        &self,
        image: &mut [f32],
        levels: &mut Levels,
        dims: [usize; 3],
        normalisation: &Normalisation,
        key: Key,
    ) {
        levels.load(image, dims);
        if let Some(rand_augment) = self.rand_augment {
            let fill: Vec<u8> = normalisation.mean.iter().map(|&mean| nearest_level(mean)).collect();
            rand_augment.apply(levels, key.draws("augment.rand_augment"), &fill);
        }
        if self.color_jitter > 0.0 {
            jitter::apply(self.color_jitter, levels, key.draws("augment.color_jitter"));
        }
        levels.store(image);
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

/// The level that timm fills with where nothing of the image is: halves go to the even one, as Python rounds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn nearest_level(mean: f32) -> u8 {
    (255.0 * f64::from(mean)).round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::crop::Crop;
    use super::*;

    /// What becomes of an image under ImageNet's normalisation, or of a gray one under a mean and deviation of 0.5.
    fn applied(augment: &Augment, image: &[f32], dims: [usize; 3], seed: u64, epoch: u32, id: u32) -> Vec<f32> {
        let mut out = image.to_vec();
        let normalisation = if dims[0] == 3 { Normalisation::imagenet() } else { Normalisation::half(dims[0]) };
        augment.apply(&mut out, &mut Scratch::default(), dims, &normalisation, Key { seed, epoch, id });
        out
    }

    fn ramp(dims: [usize; 3]) -> Vec<f32> {
        let count = dims.iter().product::<usize>();
        (0..count).map(|i| (i + 1) as f32 / count as f32).collect()
    }

    #[test]
    fn the_default_does_nothing_and_toml_gives_the_rest() {
        let image = ramp([3, 5, 4]);
        assert_eq!(applied(&Augment::default(), &image, [3, 5, 4], 1, 2, 3), image);
        let text = "crop_pad = 4\nflip = true\nrandom_resized_crop = [0.5, 1.0]\nmixup = 0.8\ncolor_jitter = 0.4\nrandom_erasing = 0.25";
        let parsed: Augment = toml::from_str(text).unwrap();
        let expected = Augment {
            crop_pad: 4,
            flip: true,
            random_resized_crop: Some((0.5, 1.0)),
            mixup: 0.8,
            color_jitter: 0.4,
            random_erasing: 0.25,
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
            ("color_jitter", Augment { color_jitter: 1.5, ..none }),
            ("random_erasing", Augment { random_erasing: -0.1, ..none }),
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
    fn rand_augment_fills_with_the_mean_and_erasing_comes_last() {
        assert_eq!([0.485, 0.456, 0.406, 0.5, 1.0, 0.0].map(nearest_level), [124, 116, 104, 128, 255, 0]);
        let dims = [3, 12, 14];
        let image = ramp(dims);
        let settings: RandAugment = "rand-m10-n3-inc1".parse().unwrap();
        let rand = Augment { rand_augment: Some(settings), ..Augment::default() };
        let both = Augment { random_erasing: 1.0, ..rand };
        let mut erased = 0;
        for id in 0..200 {
            let key = Key { seed: 4, epoch: 3, id };
            let (mut levels, mut expected) = (Levels::default(), image.clone());
            levels.load(&image, dims);
            for (operation, filter) in settings.operations(key.draws("augment.rand_augment")) {
                operation.apply(&mut levels, filter, &[124, 116, 104]);
            }
            levels.store(&mut expected);
            assert_eq!(applied(&rand, &image, dims, 4, 3, id), expected, "{id}");
            if let Some(region) = erase::region(1.0, key.draws("augment.erase"), [12, 14]) {
                let noise = key.draws("augment.erase.noise");
                erase::fill(region, &mut expected, dims, &Normalisation::imagenet(), noise);
                erased += 1;
            }
            assert_eq!(applied(&both, &image, dims, 4, 3, id), expected, "{id}");
        }
        assert!(erased > 190, "{erased}");
    }

    #[test]
    fn images_become_their_nearest_levels() {
        let mut levels = Levels::default();
        levels.load(&[0.0, 0.49, 0.5, 1.49, 254.49, 254.51, 300.0, -3.0].map(|level| level / 255.0), [1, 2, 4]);
        assert_eq!(levels.values(), [0, 0, 1, 1, 254, 255, 255, 0]);
    }

    #[test]
    fn jitter_rounds_to_levels_and_leaves_gray_images_gray() {
        let image = ramp([1, 9, 7]);
        let augment = Augment { color_jitter: 0.4, ..Augment::default() };
        let results: Vec<_> = (0..20).map(|id| applied(&augment, &image, [1, 9, 7], 1, 0, id)).collect();
        let rounded = |value: &f32| (0..=u8::MAX).any(|level| f32::from(level) / 255.0 == *value);
        assert!(results.iter().flatten().all(rounded));
        assert!((1..20).all(|id| results[id] != results[0]));
        let repeated = [&image[..], &image, &image].concat();
        let settings: RandAugment = "rand-m9-n3-mstd0.5-inc1".parse().unwrap();
        let gray = Augment { rand_augment: Some(settings), ..Augment::default() };
        for id in 0..200 {
            let draws = Key { seed: 1, epoch: 0, id }.draws("augment.rand_augment");
            let mut levels = [Levels::default(), Levels::default()];
            levels[0].load(&image, [1, 9, 7]);
            levels[1].load(&repeated, [3, 9, 7]);
            levels.iter_mut().for_each(|levels| settings.apply(levels, draws, &[128; 3]));
            assert_eq!(levels[0].values().repeat(3), levels[1].values(), "{id}");
            assert_eq!(applied(&gray, &image, [1, 9, 7], 1, 0, id).len(), 63);
        }
    }

    #[test]
    fn flips_half_of_the_samples_and_mirrors_rows() {
        let augment = Augment { flip: true, ..Augment::default() };
        let mut flipped = 0;
        for id in 0..400 {
            let image = applied(&augment, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 2, 3], 9, 0, id);
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
            let out = applied(&Augment { crop_pad: pad, ..Augment::default() }, &image, dims, seed, 0, id);
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
            let constant = applied(&augment, &vec![0.3; height * width], [1, height, width], seed, 0, id);
            prop_assert!(constant.iter().all(|&v| v == 0.3));
            let image = ramp([1, height, width]);
            let out = applied(&augment, &image, [1, height, width], seed, 0, id);
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
