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

/// Levels of some drawn pictures, [n, 3, side, side].
fn pictures(side: usize, count: usize) -> Vec<u8> {
    let options = crate::data::Options { size: Some(side), limit: Some(count), ..Default::default() };
    let data = crate::data::open("synthetic", crate::data::Split::Test, &options).unwrap();
    (0..count).flat_map(|index| data.image_u8(index).unwrap().to_vec()).collect()
}

/// Mean squared difference of levels.
fn distance(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum::<f64>() / a.len() as f64
}

/// Some are not ordered by their constants: they trade more flakes for a higher threshold, water for mud, gray for
/// colour. The mean over many random height maps falls for fog, but not over two.
#[test]
fn mean_psnr_falls_with_severity() {
    use Corruption::{ElasticTransform, Fog, Frost, GlassBlur, Saturate, Snow, Spatter};
    for (side, count) in [(32, 16), (96, 2)] {
        let (clean, dims) = (pictures(side, count), [3, side, side]);
        for corruption in Corruption::all() {
            let options = Options { final_jpeg: false, ..Options::default() };
            let distances = SEVERITIES.map(|severity| {
                let corruptor = Corruptor::new(corruption, severity, dims, &options).unwrap();
                let images = clean.chunks_exact(3 * side * side).enumerate();
                let error = |(id, image): (usize, &[u8])| {
                    let mut levels = image.to_vec();
                    corruptor.levels(&mut levels, u32::try_from(id).unwrap()).unwrap();
                    distance(&levels, image)
                };
                images.map(error).map(|mse| 10.0 * (255.0 * 255.0 / mse).log10()).sum::<f64>() / count as f64
            });
            let psnr: Vec<f64> = distances.collect();
            if !matches!(corruption, ElasticTransform | Fog | Frost | GlassBlur | Saturate | Snow | Spatter) {
                assert!(psnr.is_sorted_by(|mild, strong| mild > strong), "{side} {corruption} {psnr:?}");
            }
            if !matches!(corruption, ElasticTransform | Saturate) {
                assert!(psnr[4] < psnr[0], "{side} {corruption} {psnr:?}");
            }
        }
    }
}

/// Moments of a result of flat gray, in units of white, and of the share of extreme levels.
fn moments(corruption: Corruption, severity: u8, level: u8) -> (f64, f64) {
    let levels = corrupt(corruption, &image(&[level; 3 * 64 * 64]), [3, 64, 64], severity);
    let offsets: Vec<f64> = levels.iter().map(|&v| (f64::from(v) + 0.5 - f64::from(level)) / 255.0).collect();
    let mean = offsets.iter().sum::<f64>() / offsets.len() as f64;
    (mean, offsets.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / offsets.len() as f64)
}

/// Five standard errors at 12,288 draws: 0.045 deviations of a mean, 0.064 of a variance (and a little for truncation).
#[test]
fn shot_and_speckle_noise_have_their_variances() {
    for severity in SEVERITIES {
        let gray = 100.0 / 255.0;
        let photons = Corruption::ShotNoise.constants(severity, Scale::Cifar).unwrap()[0];
        let (mean, variance) = moments(Corruption::ShotNoise, severity, 100);
        let expected = gray / photons;
        // Counts are whole, so that what truncation takes depends on the constant: up to half a level more or less.
        assert!(mean.abs() < 0.046 * expected.sqrt() + 0.5 / 255.0, "{severity} {mean}");
        assert!((variance / expected - 1.0).abs() < 0.08, "{severity} {variance} {expected}");
        let deviation = Corruption::SpeckleNoise.constants(severity, Scale::Cifar).unwrap()[0];
        let (mean, variance) = moments(Corruption::SpeckleNoise, severity, 100);
        let expected = (gray * deviation).powi(2);
        assert!(mean.abs() < 0.046 * expected.sqrt(), "{severity} {mean}");
        assert!((variance / expected - 1.0).abs() < 0.08, "{severity} {variance} {expected}");
    }
}

#[test]
fn impulse_noise_hits_its_share_evenly() {
    for severity in SEVERITIES {
        let share = Corruption::ImpulseNoise.constants(severity, Scale::Cifar).unwrap()[0];
        let levels = corrupt(Corruption::ImpulseNoise, &image(&[100; 3 * 64 * 64]), [3, 64, 64], severity);
        let count = |wanted: u8| levels.iter().filter(|&&level| level == wanted).count() as f64;
        let (total, hit) = (levels.len() as f64, count(0) + count(255));
        assert_eq!(hit + count(100), total);
        assert!((hit - share * total).abs() < 5.0 * (share * total).sqrt(), "{severity} {hit}");
        assert!((count(255) - hit / 2.0).abs() < 2.5 * hit.sqrt(), "{severity} {}", count(255));
    }
}

#[test]
fn draws_depend_on_seed_severity_and_sample_and_on_nothing_else() {
    use Corruption::{DefocusBlur, GaussianBlur, JpegCompression, Pixelate, Saturate, ZoomBlur};
    let still = [ZoomBlur, DefocusBlur, Corruption::Brightness, Corruption::Contrast, Pixelate, JpegCompression];
    let still = [&still[..], &[GaussianBlur, Saturate]].concat();
    let dims = [3, 32, 32];
    let images: Vec<f32> = pictures(32, 4).iter().map(|&level| f32::from(level) / 255.0).collect();
    let made = |corruption, seed, ids: [u32; 4], threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut images = images.clone();
        let options = Options { seed, ..Options::default() };
        let corruptor = Corruptor::new(corruption, 3, dims, &options).unwrap();
        pool.install(|| corruptor.batch(&mut images, &ids)).unwrap();
        images
    };
    for corruption in Corruption::all() {
        let all = made(corruption, 1, [5, 6, 7, 8], 1);
        assert_eq!(made(corruption, 1, [5, 6, 7, 8], 2), all, "{corruption}: threads");
        let corruptor = Corruptor::new(corruption, 3, dims, &Options { seed: 1, ..Options::default() }).unwrap();
        let mut last = images[3 * 3072..].to_vec();
        corruptor.pixels(&mut last, 8).unwrap();
        assert_eq!(last, all[3 * 3072..], "{corruption}: batch");
        let (other_seed, other_ids) = (made(corruption, 2, [5, 6, 7, 8], 1), made(corruption, 1, [9, 10, 11, 12], 1));
        assert_eq!(other_seed == all, still.contains(&corruption), "{corruption}: seed");
        assert_eq!(other_ids == all, still.contains(&corruption), "{corruption}: sample");
    }
    // Gaussian noise of severities 4 and 5 differs by more than its strength.
    let noise = |severity| {
        let flat = image(&[128; 3072]);
        let levels = corrupt(Corruption::GaussianNoise, &flat, dims, severity);
        levels.iter().map(|&level| level > 127).collect::<Vec<bool>>()
    };
    assert_ne!(noise(4), noise(5));
}

/// The brightest pixel in the thickest fog keeps its level, but for truncation: (m + c) m / (m + c).
#[test]
fn fog_keeps_the_range_of_a_dim_image() {
    for severity in SEVERITIES {
        let foggy = corrupt(Corruption::Fog, &image(&[100; 3 * 32 * 32]), [3, 32, 32], severity);
        assert!(matches!(foggy.iter().max(), Some(99 | 100)) && foggy.iter().any(|&level| level < 99), "{severity}");
        assert_eq!(foggy[..1024], foggy[2048..]);
    }
}

#[test]
fn small_and_odd_images_are_taken() {
    for dims in [[3, 3, 3], [1, 5, 9], [3, 17, 33], [1, 70, 66], [3, 3, 90]] {
        let count: usize = dims.iter().product();
        for corruption in Corruption::all() {
            for severity in [1, 3, 5] {
                let mut levels: Vec<u8> = (0..count).map(|i| u8::try_from(i * 37 % 256).unwrap()).collect();
                let corruptor = Corruptor::new(corruption, severity, dims, &Options::default()).unwrap();
                corruptor.levels(&mut levels, 0).unwrap();
            }
        }
    }
}

#[test]
fn the_final_jpeg_is_for_large_images_only() {
    for (side, changes) in [(SMALL_SIDE, false), (SMALL_SIDE + 1, true)] {
        let clean = pictures(side, 1);
        let made = |final_jpeg| {
            let mut levels = clean.clone();
            let options = Options { final_jpeg, ..Options::default() };
            Corruptor::new(Corruption::Contrast, 1, [3, side, side], &options).unwrap().levels(&mut levels, 0).unwrap();
            levels
        };
        assert_eq!(made(true) != made(false), changes);
    }
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
