//! Against the libraries that the published generators call, on the same draws: `tests/goldens/make_corruptions.py`.

use std::path::Path;

use models::tensor_file::TensorFile;

use super::picture::{Draws, Effect, Picture};
use super::{Corruption, Corruptor, Frost, Options, SEVERITIES, Scale, jpeg::Jpeg};

const SEED: u64 = 7;
const SAMPLE: u32 = 3;
const POINTS: usize = 576;

fn golden(name: &str) -> TensorFile {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens");
    TensorFile::open(folder.join(name)).unwrap()
}

fn digest(levels: &[u8]) -> u32 {
    let add = |hash: u32, &byte: &u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    levels.iter().fold(0x811C_9DC5, add)
}

fn level(value: i64) -> u8 {
    u8::try_from(value.clamp(0, 255)).unwrap()
}

fn wave(value: i64, half: i64) -> i64 {
    (value.rem_euclid(2 * half) - half).abs() * 255 / half
}

/// `picture` of the script, [3, side, side].
fn picture(side: i64) -> Vec<u8> {
    let pixels = (0..3).flat_map(|c| (0..side).flat_map(move |y| (0..side).map(move |x| (c, y, x))));
    let value = |(c, y, x): (i64, i64, i64)| {
        let (u, v) = (x * 224 / side, y * 224 / side);
        let mut value = i64::midpoint(wave(3 * u + 2 * v + 40 * c, 97), wave(5 * v - u + 1000 + 70 * c, 61));
        value += (x * 7919 + y * 104_729 + c * 1_299_709 + x * y * 31).rem_euclid(17) - 8;
        if (u - 80).pow(2) + (v - 120).pow(2) < 45 * 45 {
            value = [230, 60, 40][usize::try_from(c).unwrap()] + (x + y) % 5;
        }
        if u >= 150 && v < 60 {
            value = 255;
        }
        if u < 50 && v >= 190 {
            value = 0;
        }
        level(value)
    };
    pixels.map(value).collect()
}

/// The script's stand-ins for photographs of frost, written where `--frost` would find them.
fn frost() -> Frost {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..5_i64 {
        let value = |x: i64, y: i64, c: i64| {
            level(i64::midpoint(wave(7 * x + 3 * y * (number + 1) + 50 * c, 83), (x * y * (number + 3) + 29 * c) % 256))
        };
        let picture = image::RgbImage::from_fn(320, 300, |x, y| {
            image::Rgb([0, 1, 2].map(|c| value(i64::from(x), i64::from(y), c)))
        });
        picture.save(folder.path().join(format!("frost{}.png", number + 1))).unwrap();
    }
    Frost::open(folder.path()).unwrap()
}

/// The share of levels, in thousandths, that may be off by one; None where every bit is equal, as almost everywhere.
///
/// OpenCV correlates with kernels of 17 x 17 and more through a Fourier transform, whose rounding moves a value across a level
/// here and there. NumPy's `exp` errs in the last bit, by version and processor, so that Gaussian weights sum to 1 or to a
/// hair less: where the image is white, truncation tells.
fn off_by_one(side: usize, corruption: Corruption, severity: u8) -> Option<usize> {
    match (side, corruption, severity) {
        (224, Corruption::DefocusBlur, 4) => Some(1),
        (224, Corruption::GaussianBlur, 3) => Some(6),
        _ => None,
    }
}

fn compare(file: &str, side: i64, seen: impl Fn(&[u8]) -> Vec<u8>) {
    let file = golden(file);
    let expected = file.read("levels").unwrap();
    let expected = expected.values::<u8>().unwrap();
    let digests = file.read("digests").unwrap();
    let digests = digests.values::<u32>().unwrap();
    let clean = picture(side);
    assert_eq!(
        file.read("clean").unwrap().values::<u32>().unwrap(),
        [digest(&clean)],
        "the script's picture is another"
    );
    let options = Options { seed: SEED, frost: frost(), final_jpeg: false };
    let side = usize::try_from(side).unwrap();
    let rows = Corruption::all().flat_map(|corruption| SEVERITIES.map(move |severity| (corruption, severity)));
    let size = expected.len() / digests.len();
    let mut wrong = Vec::new();
    for (((corruption, severity), expected), expected_digest) in rows.zip(expected.chunks_exact(size)).zip(digests) {
        let mut levels = clean.clone();
        Corruptor::new(corruption, severity, [3, side, side], &options).unwrap().levels(&mut levels, SAMPLE).unwrap();
        let (seen, whole) = (seen(&levels), digest(&levels) == *expected_digest);
        let off = seen.iter().zip(expected).filter(|(a, b)| a != b).count();
        let most = seen.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let fine = match off_by_one(side, corruption, severity) {
            None => off == 0 && whole,
            Some(thousandths) => most <= 1 && off * 1000 <= thousandths * size,
        };
        if !fine {
            wrong.push(format!("{corruption} {severity}: {off} of {size} differ by up to {most}, whole {whole}"));
        }
    }
    assert!(wrong.is_empty(), "at {side} pixels: {wrong:#?}");
}

#[test]
fn constants_are_those_of_the_generators() {
    for (file, scale) in
        [("corruptions_32.safetensors", Scale::Cifar), ("corruptions_224.safetensors", Scale::ImageNet)]
    {
        let expected = golden(file).read("constants").unwrap(); // [19, 5, 7], filled up with NaN
        let rows = Corruption::all().flat_map(|corruption| SEVERITIES.map(move |severity| (corruption, severity)));
        for ((corruption, severity), expected) in rows.zip(expected.values::<f64>().unwrap().chunks_exact(7)) {
            let count = expected.iter().take_while(|value| !value.is_nan()).count();
            assert_eq!(corruption.constants(severity, scale).unwrap(), &expected[..count], "{corruption} {severity}");
        }
    }
    // The lengths that NumPy gives the generators' `arange`.
    let lengths = |scale| {
        SEVERITIES.map(move |severity| match Corruption::ZoomBlur.constants(severity, scale).unwrap() {
            &[stop, step] => super::zoom::factors(stop, step).len(),
            _ => unreachable!("two constants"),
        })
    };
    assert!(lengths(Scale::Cifar).eq([7, 12, 16, 21, 26]) && lengths(Scale::ImageNet).eq([12, 16, 11, 13, 11]));
}

#[test]
fn small_images() {
    compare("corruptions_32.safetensors", 32, <[u8]>::to_vec);
}

#[test]
fn large_images() {
    let area = 224 * 224;
    let points = move |levels: &[u8]| -> Vec<u8> {
        levels.chunks_exact(area).flat_map(|plane| (0..POINTS).map(|at| plane[at * 7919 * 13 % area])).collect()
    };
    compare("corruptions_224.safetensors", 224, points);
}

#[test]
fn jpeg_of_any_size() {
    let file = golden("corruptions_224.safetensors");
    let expected = file.read("jpeg").unwrap();
    let whole = picture(224);
    let crop = |height: usize, width: usize, channels: usize| {
        let at = |c: usize, y: usize, x: usize| whole[(c * 224 + 10 + y) * 224 + 60 + x];
        let levels = (0..channels)
            .flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))))
            .map(|(c, y, x)| at(c, y, x));
        Picture { levels: levels.collect(), channels, size: [height, width] }
    };
    let draws = Draws { seed: 0, severity: 1, sample: 0 };
    let stored = |mut picture: Picture, quality: u32| {
        Jpeg::new(quality).apply(&mut picture, &draws);
        digest(&picture.levels)
    };
    let sizes = [(33, 21), (17, 47), (5, 3), (1, 9), (64, 6)];
    let colour = sizes.iter().flat_map(|&(h, w)| [85, 10].map(|quality| stored(crop(h, w, 3), quality)));
    let gray = sizes.iter().map(|&(h, w)| stored(crop(h, w, 1), 40));
    let seen: Vec<u32> = colour.chain(gray).collect();
    assert_eq!(seen, expected.values::<u32>().unwrap());
}
