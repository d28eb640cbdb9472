//! Properties of the corruptions, and values computed by hand.

use proptest::prelude::*;

use super::*;

/// Without the final JPEG, with seed 1, sample 0.
fn corrupt(corruption: Corruption, image: &[f32], dims: [usize; 3], severity: u8) -> Vec<u8> {
    let mut image = image.to_vec();
    let options = Options { seed: 1, final_jpeg: false, ..Options::default() };
    Corruptor::new(corruption, severity, dims, &options).unwrap().pixels(&mut image, 0).unwrap();
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
            let levels: Vec<u8> = (0..count).map(|i| u8::try_from((i * i * 7 + i * 13) / 3 % 256).unwrap()).collect();
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
        let half = |dy: usize| (f64::from(levels[at(dy, 0)]) / 2.0 + f64::from(levels[at(dy, 1)]) / 2.0 + 0.5).floor();
        let block = (half(0) / 2.0 + half(1) / 2.0 + 0.5).floor();
        assert!([at(0, 0), at(0, 1), at(1, 0), at(1, 1)].iter().all(|&i| f64::from(out[i]) == block), "{y} {x}");
    }
}

#[test]
fn gaussian_noise_has_its_deviation() {
    let dims = [3, 64, 64];
    for severity in SEVERITIES {
        let strength = Corruption::GaussianNoise.constants(severity, Scale::Cifar).unwrap()[0];
        let noisy = corrupt(Corruption::GaussianNoise, &image(&[128; 3 * 64 * 64]), dims, severity);
        let offset = |v: &u8| (f64::from(*v) + 0.5 - 128.0) / 255.0;
        let moment = |k: i32| noisy.iter().map(|v| offset(v).powi(k)).sum::<f64>() / noisy.len() as f64;
        // Five standard errors of mean and variance at 12,288 draws.
        assert!(moment(1).abs() < 0.046 * strength && (moment(2) / strength.powi(2) - 1.0).abs() < 0.066, "{severity}");
    }
}

#[test]
fn bad_input_is_refused_and_left_alone() {
    let new = |dims, severity| Corruptor::new(Corruption::Contrast, severity, dims, &Options::default());
    for (dims, severity) in [([2, 1, 1], 1), ([1, 0, 1], 1), ([1, usize::MAX, 2], 1), ([1, 1, 2], 0), ([1, 1, 2], 6)] {
        assert!(new(dims, severity).is_err(), "{dims:?} {severity}");
    }
    let corruptor = new([1, 1, 2], 1).unwrap();
    for mut pixels in [[0.25, 1.5], [0.25, f32::NAN]] {
        let before = pixels.map(f32::to_bits);
        assert!(corruptor.pixels(&mut pixels, 0).unwrap_err().to_string().contains("outside [0, 1]"));
        assert_eq!(pixels.map(f32::to_bits), before);
    }
    assert!(corruptor.pixels(&mut [0.5], 0).is_err() && corruptor.levels(&mut [1, 2, 3], 0).is_err());
    let small = Corruptor::new(Corruption::ElasticTransform, 1, [3, 2, 9], &Options::default());
    assert!(small.err().unwrap().to_string().contains("at least 3 pixels"));
    for corruption in Corruption::all() {
        assert_eq!(corruption.name().parse::<Corruption>().unwrap(), corruption);
    }
    assert!("smog".parse::<Corruption>().unwrap_err().to_string().contains("pixelate"));
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
