//! Batches, their order and their independence of how they are made.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn dataset(count: usize) -> Arc<Dataset> {
    let pixels = (0..count * 48).map(|i| u8::try_from(i * 31 % 256).unwrap()).collect();
    let labels = (0..count).map(|i| i32::try_from(i % 3).unwrap()).collect();
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    Arc::new(Dataset::new("set", [3, 4, 4], pixels, labels, classes).unwrap())
}

fn everything() -> Augment {
    Augment {
        crop_pad: 1,
        flip: true,
        random_resized_crop: Some((0.4, 1.0)),
        mixup: 0.8,
        cutmix: 1.0,
        smoothing: 0.1,
        ..Augment::default()
    }
}

/// Everything without mixing, with RandAugment or with colour jitter.
fn of_one_sample(rand_augment: bool) -> Augment {
    Augment {
        mixup: 0.0,
        cutmix: 0.0,
        rand_augment: rand_augment.then(|| "rand-m9-mstd0.5-inc1".parse().unwrap()),
        color_jitter: if rand_augment { 0.0 } else { 0.4 },
        random_erasing: 0.5,
        ..everything()
    }
}

fn drain(loader: &Loader, epoch: u32, step: usize) -> Vec<Samples> {
    loader.start(epoch, step).unwrap().map(|batch| batch.unwrap().clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn prefetch_changes_nothing_and_a_resumed_epoch_continues(
        count in 1_usize..30, batch in 1_usize..9, seed: u64, epoch: u32, depth in 1_usize..6, at: prop::sample::Index,
    ) {
        let loader = Loader::train(dataset(count), batch, seed, everything()).unwrap();
        let whole = drain(&loader, epoch, 0);
        prop_assert_eq!(whole.len(), loader.steps());
        prop_assert_eq!(&drain(&loader.clone().prefetch(depth).unwrap(), epoch, 0), &whole);
        let step = at.index(whole.len() + 1);
        prop_assert_eq!(drain(&loader, epoch, step), &whole[step..]);
    }

    #[test]
    fn an_epoch_shows_every_sample_once_and_pads_with_weight_0(count in 1_usize..40, batch in 1_usize..9, seed: u64) {
        let loader = Loader::train(dataset(count), batch, seed, everything()).unwrap();
        let mut seen = BTreeSet::new();
        for samples in drain(&loader, 0, 0) {
            prop_assert_eq!((samples.images.len(), samples.targets.len()), (batch * 48, batch * 3));
            prop_assert_eq!([samples.labels.len(), samples.ids.len(), samples.weights.len()], [batch; 3]);
            for i in 0..batch {
                let real = i < samples.count;
                prop_assert_eq!(samples.weights[i], if real { 1.0 } else { 0.0 });
                prop_assert!((samples.targets[i * 3..(i + 1) * 3].iter().sum::<f32>() - 1.0).abs() < 1e-5);
                prop_assert!(samples.images[i * 48..(i + 1) * 48].iter().all(|v| (0.0..=1.000_001).contains(v)));
                if real {
                    prop_assert!(seen.insert(samples.ids[i]));
                    prop_assert_eq!(samples.labels[i], i32::try_from(samples.ids[i] % 3).unwrap());
                } else {
                    prop_assert_eq!((samples.ids[i], samples.labels[i]), (NO_SAMPLE, 0));
                    prop_assert!(samples.images[i * 48..(i + 1) * 48].iter().all(|&v| v == 0.0));
                }
            }
        }
        prop_assert_eq!(seen, (0..u32::try_from(count).unwrap()).collect::<BTreeSet<_>>());
    }

    /// Without mixing, what becomes of a sample depends on neither the batch size nor its companions.
    #[test]
    fn a_sample_is_a_function_of_seed_epoch_and_id(small in 1_usize..5, large in 5_usize..12, seed: u64, epoch: u32, rand: bool) {
        let augment = of_one_sample(rand);
        let all = dataset(20);
        let part = Arc::new(all.subset(5..20).unwrap());
        let collect = |set: &Arc<Dataset>, batch: usize| {
            let loader = Loader::train(Arc::clone(set), batch, seed, augment).unwrap();
            let loader = loader.for_model(&Normalisation::imagenet()).unwrap();
            let mut rows: Vec<(u32, Vec<f32>)> = Vec::new();
            for samples in drain(&loader, epoch, 0) {
                let images = samples.images.chunks(48).take(samples.count);
                rows.extend(samples.ids.iter().copied().zip(images.map(<[f32]>::to_vec)));
            }
            rows.sort_by_key(|row| row.0);
            rows
        };
        let rows = collect(&all, small);
        prop_assert_eq!(&collect(&all, large), &rows);
        prop_assert_eq!(&collect(&part, large), &rows[5..]);
    }
}

/// The bits that the loader gave before it knew RandAugment, colour jitter and random erasing.
#[test]
fn what_is_off_changes_no_bit() {
    let mut hash = 0x811C_9DC5_u32;
    for samples in drain(&Loader::train(dataset(20), 6, 7, everything()).unwrap(), 2, 0) {
        for byte in samples.images.iter().chain(&samples.targets).flat_map(|value| value.to_le_bytes()) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    assert_eq!(hash, 2_212_758_374);
}

#[test]
fn order_depends_on_seed_and_epoch_and_is_uniform() {
    let loader = |seed| Loader::train(dataset(50), 8, seed, Augment::default()).unwrap();
    assert_eq!(loader(1).order(3), loader(1).order(3));
    assert_ne!(loader(1).order(3), loader(1).order(4));
    assert_ne!(loader(1).order(3), loader(2).order(3));
    // Each of the 24 orders of four samples: 2400 draws, expected 100, deviation 9.8.
    let four = Loader::train(dataset(4), 8, 5, Augment::default()).unwrap();
    let mut counts = std::collections::BTreeMap::new();
    (0..2400).for_each(|epoch| *counts.entry(four.order(epoch)).or_insert(0_i32) += 1);
    assert_eq!(counts.len(), 24);
    assert!(counts.values().all(|count| (count - 100).abs() < 50), "{counts:?}");
}

#[test]
fn epochs_differ_in_augmentation_and_evaluation_is_plain_and_in_order() {
    let set = dataset(7);
    let flips = Loader::train(Arc::clone(&set), 7, 1, Augment { flip: true, ..Augment::default() }).unwrap();
    let flipped = |epoch: u32| -> BTreeSet<u32> {
        let samples = drain(&flips, epoch, 0).remove(0);
        let mut image = vec![0.0; 48];
        let mut changed = BTreeSet::new();
        for (row, &id) in samples.ids.iter().enumerate() {
            set.image_f32(id as usize, &mut image).unwrap();
            if samples.images[row * 48..(row + 1) * 48] != image {
                changed.insert(id);
            }
        }
        changed
    };
    assert!((1..6).any(|epoch| flipped(epoch) != flipped(0)));

    let batches = drain(&Loader::evaluation(Arc::clone(&set), 3).unwrap(), 0, 0);
    assert_eq!(batches.iter().map(|b| b.count).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(batches[1].ids, [3, 4, 5]);
    assert_eq!(batches[2].weights, [1.0, 0.0, 0.0]);
    assert_eq!(batches[0].targets, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let mut image = vec![0.0; 48];
    set.image_f32(4, &mut image).unwrap();
    assert_eq!(batches[1].images[48..96], image);
}

#[test]
fn buffers_come_back() {
    let loader = Loader::evaluation(dataset(300), 2).unwrap().prefetch(2).unwrap();
    let addresses: BTreeSet<_> = loader.start(0, 0).unwrap().map(|b| b.unwrap().images.as_ptr() as usize).collect();
    // Two ready, one being made, one in use, and one between them.
    assert!(addresses.len() <= 5, "{} buffers", addresses.len());
}

#[test]
fn dropping_early_ends_the_thread_whatever_it_waits_for() {
    let loader = Loader::train(dataset(500), 1, 0, everything()).unwrap();
    for taken in [0, 1, 7] {
        let mut batches = loader.start(0, 0).unwrap();
        let kept: Vec<Batch> = batches.by_ref().take(taken).map(Result::unwrap).collect();
        drop(batches);
        assert!(kept.iter().all(|batch| batch.count == 1));
    }
}

#[test]
fn nonsense_is_refused() {
    let message = |result: Result<Loader>| result.err().unwrap().to_string();
    assert!(message(Loader::evaluation(dataset(3), 0)).contains("batch size"));
    assert!(message(Loader::evaluation(dataset(3), usize::MAX / 2)).contains("too large"));
    assert!(message(Loader::evaluation(Arc::new(dataset(3).subset(1..1).unwrap()), 1)).contains("no image"));
    assert!(message(Loader::train(dataset(3), 1, 0, Augment { mixup: -1.0, ..Augment::default() })).contains("mixup"));
    let erasing = Augment { random_erasing: 0.25, ..Augment::default() };
    let loader = Loader::train(dataset(3), 1, 0, erasing).unwrap();
    assert!(loader.start(0, 0).err().unwrap().to_string().contains("for_model"));
    assert!(message(loader.clone().for_model(&Normalisation::half(1))).contains("another number of channels"));
    assert_eq!(loader.for_model(&Normalisation::imagenet()).unwrap().start(0, 0).unwrap().count(), 3);
    let odd = Arc::new(Dataset::new("odd", [2, 1, 1], vec![0, 1], vec![0], vec!["a".into()]).unwrap());
    let jitter = Augment { color_jitter: 0.4, ..Augment::default() };
    assert!(message(Loader::train(odd, 1, 0, jitter)).contains("1 (gray) or 3 (RGB)"));
    let loader = Loader::evaluation(dataset(3), 2).unwrap();
    assert!(message(loader.clone().prefetch(0)).contains("prefetch"));
    assert!(loader.start(0, 3).err().unwrap().to_string().contains("fewer steps"));
    assert_eq!(loader.start(0, 2).unwrap().count(), 0);
}
