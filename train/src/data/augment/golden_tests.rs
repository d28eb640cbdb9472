//! Against Pillow, timm and torchvision: `tests/goldens/make_augment.py`.

use std::path::Path;

use models::tensor_file::TensorFile;

use super::super::pixels::Interpolation;
use super::levels::Levels;
use super::operation::{OPERATIONS, Operation};
use super::{Key, erase};

const FILL: [u8; 3] = [124, 116, 104];

fn golden() -> TensorFile {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens");
    TensorFile::open(folder.join("augment_golden.safetensors")).unwrap()
}

fn read<T: engine::Element>(file: &TensorFile, name: &str) -> Vec<T> {
    file.read(name).unwrap().values::<T>().unwrap().to_vec()
}

fn digest(levels: &[u8]) -> u32 {
    let add = |hash: u32, &byte: &u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    levels.iter().fold(0x811C_9DC5, add)
}

fn planes(dims: [usize; 3], level: impl Fn(i64, i64, i64) -> i64) -> Vec<u8> {
    let [c, h, w] = dims.map(|side| i64::try_from(side).unwrap());
    let positions = (0..c).flat_map(|c| (0..h).flat_map(move |y| (0..w).map(move |x| (c, y, x))));
    positions.map(|(c, y, x)| u8::try_from(level(c, y, x)).unwrap()).collect()
}

/// `picture` of the script.
fn picture(height: usize, width: usize) -> Vec<u8> {
    let [h, w] = [height, width].map(|side| i64::try_from(side).unwrap());
    planes([3, height, width], |c, y, x| match (c, y, x) {
        (2, _, x) if x >= w - w / 5 => 255,
        (2, y, _) if y < h / 4 => 0,
        _ => 30 + 15 * c + ((11 * x + 7 * y * (c + 1) + x * y / 3) % 340 - 170).abs(),
    })
}

/// `plain` of the script.
fn plain() -> Vec<u8> {
    planes([3, 2, 6], |c, y, x| match c {
        0 => 77,
        1 if x < 2 => 3,
        1 => 200,
        _ => 50 * x + y,
    })
}

fn loaded(picture: &[u8], dims: [usize; 3]) -> Levels {
    let mut levels = Levels::default();
    let image: Vec<f32> = picture.iter().map(|&level| f32::from(level) / 255.0).collect();
    levels.load(&image, dims);
    assert_eq!(levels.values(), picture, "every level is kept by its float");
    levels
}

/// The operations that the file has results of.
fn cases(file: &TensorFile) -> Vec<(Operation, Interpolation)> {
    let (numbers, magnitudes) = (read::<i32>(file, "number"), read::<f64>(file, "magnitude"));
    let (negative, bicubic) = (read::<u8>(file, "negative"), read::<u8>(file, "bicubic"));
    assert_eq!(*numbers.last().unwrap() + 1, i32::try_from(OPERATIONS).unwrap());
    let filter = |bicubic| if bicubic == 1 { Interpolation::Bicubic } else { Interpolation::Bilinear };
    // The script's random number decides timm's sign: above a half it is negative.
    let operation =
        |(number, magnitude, negative)| Operation::at(u32::try_from(number).unwrap(), magnitude, negative == 1);
    let rows = numbers.into_iter().zip(magnitudes).zip(negative).map(|((number, m), sign)| (number, m, sign));
    rows.map(operation).zip(bicubic.into_iter().map(filter)).collect()
}

#[test]
fn operations_are_pillows_bit_for_bit() {
    let file = golden();
    let (small, plain, large) = (picture(18, 22), plain(), picture(160, 224));
    let digests = [&small, &plain, &large].map(|picture| digest(picture));
    assert_eq!(read::<u32>(&file, "pictures"), digests, "the script's pictures are others");
    let gray = &small[..18 * 22];
    let digests = read::<u32>(&file, "large");
    let expected = ["small", "gray", "plain"].map(|name| read::<u8>(&file, name));
    let cases = cases(&file);
    assert_eq!(cases.len(), digests.len());
    let mut wrong = Vec::new();
    for (row, (operation, filter)) in cases.into_iter().enumerate() {
        let pictures = [(&small[..], [3, 18, 22]), (gray, [1, 18, 22]), (&plain[..], [3, 2, 6])];
        for ((picture, dims), expected) in pictures.into_iter().zip(&expected) {
            let mut levels = loaded(picture, dims);
            operation.apply(&mut levels, filter, &FILL);
            let expected = &expected[row * picture.len()..(row + 1) * picture.len()];
            let off = levels.values().iter().zip(expected).map(|(a, b)| a.abs_diff(*b));
            let (count, most) = (off.clone().filter(|&off| off > 0).count(), off.max().unwrap());
            if count > 0 {
                wrong.push(format!("{operation:?}, {filter:?}, {dims:?}: {count} levels differ by up to {most}"));
            }
        }
        let mut levels = loaded(&large, [3, 160, 224]);
        operation.apply(&mut levels, filter, &FILL);
        if digest(levels.values()) != digests[row] {
            wrong.push(format!("{operation:?}, {filter:?}: the large picture differs"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn jitter_is_torchvisions_in_every_order() {
    let file = golden();
    let factors = read::<f64>(&file, "jitter.factors");
    let operations = [Operation::Brightness(factors[0]), Operation::Contrast(factors[1]), Operation::Color(factors[2])];
    let small = picture(18, 22);
    let (orders, expected) = (read::<i32>(&file, "jitter.order"), read::<u8>(&file, "jitter.small"));
    for (order, expected) in orders.chunks_exact(3).zip(expected.chunks_exact(small.len())) {
        let mut levels = loaded(&small, [3, 18, 22]);
        for &which in order {
            operations[usize::try_from(which).unwrap()].apply(&mut levels, Interpolation::Bilinear, &[]);
        }
        assert!(levels.values() == expected, "{order:?}");
    }
}

/// How often timm erases, how much, how high and where: means of 20,000 runs of each, within five standard errors.
#[test]
fn as_much_is_erased_as_by_timm() {
    let file = golden();
    for size in [[32, 32], [20, 48]] {
        let expected = read::<f64>(&file, &format!("erased.{}x{}", size[0], size[1])); // [2, 5]
        let runs = 20_000;
        let draws = |id| Key { seed: 3, epoch: 1, id }.draws("test");
        let regions: Vec<_> = (0..runs).filter_map(|id| erase::region(0.25, draws(id), size)).collect();
        let count = regions.len() as f64;
        let rows = regions.iter().map(|r| [r.height * r.width, r.height, r.top, r.left].map(|value| value as f64));
        let sums = rows.fold([0.0; 4], |sums, row| [0, 1, 2, 3].map(|at: usize| sums[at] + row[at]));
        let means = [count / f64::from(runs), sums[0] / count, sums[1] / count, sums[2] / count, sums[3] / count];
        for (at, mean) in means.into_iter().enumerate() {
            let bound = 5.0 * std::f64::consts::SQRT_2 * expected[5 + at];
            assert!((mean - expected[at]).abs() < bound, "{size:?}, {at}: {mean}, timm's {}", expected[at]);
        }
        assert!(regions.iter().all(|r| r.top + r.height <= size[0] && r.left + r.width <= size[1]));
        let bottom = regions.iter().map(|r| r.top + r.height).max().unwrap();
        assert_eq!((bottom, regions.iter().map(|r| r.top).min().unwrap()), (size[0], 0));
    }
}
