//! Readers against the real files; see `vitrum_tests::real_data` for where they are looked for.

use vitrum_tests::real_data;

use super::*;

fn open_at(folder: &Path, split: Split, options: &Options) -> Dataset {
    open(folder.to_str().unwrap(), split, options).unwrap()
}

fn histogram(set: &Dataset) -> Vec<usize> {
    let mut counts = vec![0; set.classes().len()];
    (0..set.len()).for_each(|i| counts[usize::try_from(set.label(i).unwrap()).unwrap()] += 1);
    counts
}

/// Mean and standard deviation of each channel over all pixels, in [0, 1].
fn moments(set: &Dataset) -> Vec<(f64, f64)> {
    let [channels, height, width] = set.dims();
    let plane = height * width;
    let mut sums = vec![[0_u64; 2]; channels];
    for i in 0..set.len() {
        for (sum, bytes) in sums.iter_mut().zip(set.image_u8(i).unwrap().chunks(plane)) {
            for &byte in bytes {
                sum[0] += u64::from(byte);
                sum[1] += u64::from(byte) * u64::from(byte);
            }
        }
    }
    let n = (set.len() * plane) as f64;
    let of = |[first, second]: [u64; 2]| {
        let mean = first as f64 / n;
        (mean / 255.0, (second as f64 / n - mean * mean).sqrt() / 255.0)
    };
    sums.into_iter().map(of).collect()
}

#[test]
fn cifar_10_has_its_published_moments_and_balance() {
    let Some(folder) = real_data("cifar-10-batches-bin") else { return };
    let test = open_at(&folder, Split::Test, &Options::default());
    assert_eq!((test.dims(), histogram(&test)), ([3, 32, 32], vec![1000; 10]));
    assert_eq!(test.classes()[0], "airplane");
    // First labels of the official test set: cat, ship, ship, airplane, frog.
    assert_eq!((0..5).map(|i| test.label(i).unwrap()).collect::<Vec<_>>(), [3, 8, 8, 0, 6]);
    let train = open_at(&folder, Split::Train, &Options::default());
    assert_eq!(train.len() % 10_000, 0);
    // The published figures are of all 60,000; a part lies within a few thousandths.
    let published = [(0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616)];
    for set in [&test, &train] {
        for ((mean, deviation), (m, d)) in moments(set).into_iter().zip(published) {
            assert!((mean - m).abs() < 0.004 && (deviation - d).abs() < 0.003, "{set}: {mean} {deviation}");
        }
    }
    let options = Options { size: Some(40), channels: Some(1), limit: Some(30), ..Options::default() };
    let gray = open_at(&folder, Split::Test, &options);
    assert_eq!((gray.dims(), gray.len(), gray.label(1).unwrap()), ([1, 40, 40], 30, 8));
}

#[test]
fn mnist_and_fashion_mnist_have_their_published_moments() {
    for (folder, mean, deviation, first) in
        [("mnist", 0.1307, 0.3081, [7, 2, 1, 0, 4]), ("fashion-mnist", 0.2860, 0.3530, [9, 2, 1, 1, 6])]
    {
        let Some(path) = real_data(folder) else { continue };
        let train = open_at(&path, Split::Train, &Options::default());
        assert_eq!((train.len(), train.dims()), (60_000, [1, 28, 28]));
        let found = moments(&train)[0];
        assert!((found.0 - mean).abs() < 1e-4 && (found.1 - deviation).abs() < 1e-4, "{folder}: {found:?}");
        let test = open_at(&path, Split::Test, &Options::default());
        assert_eq!((0..5).map(|i| test.label(i).unwrap()).collect::<Vec<_>>(), first);
        let counts = histogram(&test);
        if folder == "mnist" {
            assert_eq!(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        } else {
            assert_eq!((counts, &*test.classes()[9]), (vec![1000; 10], "Ankle boot"));
        }
    }
}

#[test]
fn imagenette_decodes_whatever_its_colours() {
    let Some(folder) = real_data("imagenette-subset") else { return };
    let options = Options { size: Some(64), ..Options::default() };
    let val = open_at(&folder, Split::Test, &options);
    assert_eq!((val.dims(), histogram(&val)), ([3, 64, 64], vec![30; 10]));
    assert_eq!(val.classes()[0], "n01440764");
    let limited = open_at(&folder, Split::Train, &Options { limit: Some(20), ..options });
    assert_eq!(histogram(&limited), [2; 10]);
    // Gray files come out gray: at least one image has equal planes, and most don't.
    let gray = |i: &usize| {
        let image = val.image_u8(*i).unwrap();
        image[..4096] == image[4096..8192] && image[..4096] == image[8192..]
    };
    let grays = (0..val.len()).filter(gray).count();
    assert!((1..30).contains(&grays), "{grays} gray images");
    // Natural images: the mean of ImageNet's channels, loosely.
    for ((mean, deviation), m) in moments(&val).into_iter().zip([0.485, 0.456, 0.406]) {
        assert!((mean - m).abs() < 0.06 && (0.2..0.35).contains(&deviation), "{mean} {deviation}");
    }
}
