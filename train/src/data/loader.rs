//! Batches, made ahead of their use by a thread of its own.
//!
//! The order of an epoch is a function of (seed, epoch), an image of (seed, epoch, sample id), the mixing of a batch of
//! (seed, epoch, step). So a run that starts again at (epoch, step) sees what it would have seen, at any depth of
//! prefetch.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use engine::rng::{Philox, Stream};
use engine::{Error, Result};

use super::{Augment, Dataset, Mix};

/// Sample id of the padding of a short last batch: no image has it.
pub const NO_SAMPLE: u32 = u32::MAX;

const DEFAULT_DEPTH: usize = 3;
const MAX_DEPTH: usize = 64;

/// The buffers of a batch of b samples. The last `b - count` of a short batch are padding: black images of weight 0.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Samples {
    /// `[b, c, h, w]` in [0, 1].
    pub images: Vec<f32>,
    /// `[b, classes]`: distributions over the classes, each summing to 1; rows of padding are uniform.
    pub targets: Vec<f32>,
    /// `[b]`: the classes as labelled, before mixing; 0 for padding.
    pub labels: Vec<i32>,
    /// `[b]`: sample ids; [`NO_SAMPLE`] for padding.
    pub ids: Vec<u32>,
    /// `[b]`: 1 for samples, 0 for padding.
    pub weights: Vec<f32>,
    /// Samples that are not padding.
    pub count: usize,
}

impl Samples {
    /// Room for a batch: black images, uniform targets, and no ids, labels and weights yet.
    fn clear(&mut self, batch: usize, volume: usize, classes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "number of classes")]
        let uniform = 1.0 / classes as f32;
        self.images.clear();
        self.images.resize(batch * volume, 0.0);
        self.targets.clear();
        self.targets.resize(batch * classes, uniform);
        self.ids.clear();
        self.labels.clear();
        self.weights.clear();
    }

    fn pad(&mut self, batch: usize) {
        self.ids.resize(batch, NO_SAMPLE);
        self.labels.resize(batch, 0);
        self.weights.resize(batch, 0.0);
    }
}

/// A batch, to be read like the [`Samples`] it holds. Dropping it gives its buffers back to the loader.
pub struct Batch {
    samples: Samples,
    home: Sender<Samples>,
}

impl std::ops::Deref for Batch {
    type Target = Samples;

    fn deref(&self) -> &Samples {
        &self.samples
    }
}

impl std::ops::DerefMut for Batch {
    fn deref_mut(&mut self) -> &mut Samples {
        &mut self.samples
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // Fails where the loader is gone: then the buffers are freed.
        drop(self.home.send(std::mem::take(&mut self.samples)));
    }
}

/// Makes batches of a data set.
#[derive(Clone)]
pub struct Loader {
    dataset: Arc<Dataset>,
    batch: usize,
    seed: u64,
    augment: Augment,
    shuffle: bool,
    depth: usize,
}

impl Loader {
    /// A loader for training: shuffled and augmented under `seed`. Every sample comes once per epoch.
    ///
    /// # Errors
    /// The batch size is 0, the data set empty, or a setting of `augment` out of range.
    pub fn train(dataset: Arc<Dataset>, batch: usize, seed: u64, augment: Augment) -> Result<Self> {
        augment.validate()?;
        Self { dataset, batch, seed, augment, shuffle: true, depth: DEFAULT_DEPTH }.checked()
    }

    /// A loader for evaluation: in order, images as they are, one-hot targets.
    ///
    /// # Errors
    /// The batch size is 0 or the data set empty.
    pub fn evaluation(dataset: Arc<Dataset>, batch: usize) -> Result<Self> {
        Self { dataset, batch, seed: 0, augment: Augment::default(), shuffle: false, depth: DEFAULT_DEPTH }.checked()
    }

    /// Sets how many batches may wait ready; 3 unless set. It changes nothing in them.
    ///
    /// # Errors
    /// Not in 1..=64.
    pub fn prefetch(mut self, depth: usize) -> Result<Self> {
        self.depth = depth;
        self.checked()
    }

    fn checked(self) -> Result<Self> {
        let place = "loader";
        if self.batch == 0 {
            return Err(Error::new(place, "the batch size must be at least 1").with("batch", 0));
        }
        if self.dataset.is_empty() {
            return Err(Error::new(place, "the data set holds no image").with("data set", self.dataset.name()));
        }
        let values = self.dataset.volume().max(self.dataset.classes().len());
        if self.batch.checked_mul(values).is_none_or(|values| values > isize::MAX as usize / 4) {
            return Err(Error::new(place, "the batch is too large for memory").with("batch", self.batch));
        }
        if !(1..=MAX_DEPTH).contains(&self.depth) {
            return Err(Error::new(place, format!("prefetch must lie in 1..={MAX_DEPTH}")).with("prefetch", self.depth));
        }
        Ok(self)
    }

    /// The data set.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Samples per batch, padding included.
    pub fn batch_size(&self) -> usize {
        self.batch
    }

    /// Batches per epoch, the last one perhaps short.
    pub fn steps(&self) -> usize {
        self.dataset.len().div_ceil(self.batch)
    }

    /// Positions in the data set in the order of an epoch: Fisher-Yates by Philox.
    pub fn order(&self, epoch: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        if self.shuffle {
            let draw = Philox::new(self.seed, epoch, Stream::named("data.order"));
            for last in (1..order.len()).rev() {
                let other = draw.below(0, last, u32::try_from(last + 1).unwrap_or(u32::MAX));
                order.swap(last, other as usize);
            }
        }
        order
    }

    /// Starts making the batches `step..` of `epoch`. Starting at a step other than 0 resumes an epoch.
    ///
    /// # Errors
    /// `step` lies beyond the end of the epoch, or the system refuses a thread.
    pub fn start(&self, epoch: u32, step: usize) -> Result<Batches> {
        if step > self.steps() {
            return Err(Error::new("loader", "the epoch has fewer steps")
                .with("step", step)
                .with("steps", self.steps())
                .help("the run was stopped with other data or another batch size"));
        }
        let (ready, batches) = sync_channel(self.depth);
        let (home, returned) = channel();
        let maker = Maker { order: self.order(epoch), loader: self.clone(), epoch, scratch: Vec::new() };
        let worker = thread::Builder::new()
            .name("vitrum-loader".into())
            .spawn(move || maker.run(step, &ready, &home, &returned))
            .map_err(|error| Error::new("loader", format!("can't start a thread: {error}")))?;
        Ok(Batches { batches: Some(batches), worker: Some(worker), left: self.steps() - step })
    }
}

/// The batches of an epoch, in order. Dropping it early stops their making.
pub struct Batches {
    batches: Option<Receiver<Result<Batch>>>,
    worker: Option<JoinHandle<()>>,
    left: usize,
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let received = self.batches.as_ref().and_then(|batches| batches.recv().ok());
        let result = received.unwrap_or_else(|| Err(Error::new("loader", "the thread that makes batches has died")));
        if result.is_err() {
            self.left = 0;
        }
        Some(result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        // First the channel: a worker that waits to send a batch then sees that nobody wants it.
        self.batches = None;
        if let Some(worker) = self.worker.take() {
            // A panic was reported when it happened, and as the error of the batch it cost.
            drop(worker.join());
        }
    }
}

/// The thread's side.
struct Maker {
    loader: Loader,
    order: Vec<usize>,
    epoch: u32,
    scratch: Vec<f32>,
}

impl Maker {
    fn run(
        mut self,
        start: usize,
        ready: &SyncSender<Result<Batch>>,
        home: &Sender<Samples>,
        returned: &Receiver<Samples>,
    ) {
        for step in start..self.loader.steps() {
            let mut samples = returned.try_recv().unwrap_or_default();
            let result = self.fill(step, &mut samples).map(|()| Batch { samples, home: home.clone() });
            let failed = result.is_err();
            if ready.send(result).is_err() || failed {
                return;
            }
        }
    }

    fn fill(&mut self, step: usize, samples: &mut Samples) -> Result<()> {
        let Self { loader, order, epoch, scratch } = self;
        let Loader { dataset, batch, seed, augment, .. } = loader;
        let (dims, volume, classes) = (dataset.dims(), dataset.volume(), dataset.classes().len());
        let positions: &[usize] = order.chunks(*batch).nth(step).unwrap_or_default();
        samples.clear(*batch, volume, classes);
        let rows = samples.images.chunks_exact_mut(volume).zip(samples.targets.chunks_exact_mut(classes));
        for (&position, (image, target)) in positions.iter().zip(rows) {
            let (id, label) = (dataset.id(position)?, dataset.label(position)?);
            dataset.image_f32(position, image)?;
            augment.apply(image, scratch, dims, *seed, *epoch, id);
            augment.target(label, target);
            samples.ids.push(id);
            samples.labels.push(label);
            samples.weights.push(1.0);
        }
        samples.count = positions.len();
        let number = u32::try_from(step).map_err(|_| Error::new("loader", "too many steps").with("step", step))?;
        if let Some(mix) = Mix::draw(augment, *seed, *epoch, number, [dims[1], dims[2]]) {
            let (images, _) = samples.images.split_at_mut(samples.count * volume);
            let (targets, _) = samples.targets.split_at_mut(samples.count * classes);
            mix.apply(images, targets, samples.count, dims);
        }
        samples.pad(*batch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
        fn a_sample_is_a_function_of_seed_epoch_and_id(small in 1_usize..5, large in 5_usize..12, seed: u64, epoch: u32) {
            let augment = Augment { mixup: 0.0, cutmix: 0.0, ..everything() };
            let all = dataset(20);
            let part = Arc::new(all.subset(5..20).unwrap());
            let collect = |set: &Arc<Dataset>, batch: usize| {
                let loader = Loader::train(Arc::clone(set), batch, seed, augment).unwrap();
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
        assert!(
            message(Loader::train(dataset(3), 1, 0, Augment { mixup: -1.0, ..Augment::default() })).contains("mixup")
        );
        let loader = Loader::evaluation(dataset(3), 2).unwrap();
        assert!(message(loader.clone().prefetch(0)).contains("prefetch"));
        assert!(loader.start(0, 3).err().unwrap().to_string().contains("fewer steps"));
        assert_eq!(loader.start(0, 2).unwrap().count(), 0);
    }
}
