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
use models::Normalisation;

use super::augment::{Key, Scratch};
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
    normalisation: Option<Normalisation>,
    shuffle: bool,
    depth: usize,
}

impl Loader {
    /// A loader for training: shuffled and augmented under `seed`. Every sample comes once per epoch.
    ///
    /// # Errors
    /// The batch size is 0, the data set empty, a setting of `augment` out of range, or not for images of so many channels.
    pub fn train(dataset: Arc<Dataset>, batch: usize, seed: u64, augment: Augment) -> Result<Self> {
        augment.validate()?;
        let [channels, ..] = dataset.dims();
        if augment.works_on_levels() && channels != 1 && channels != 3 {
            return Err(Error::new(
                "loader",
                "RandAugment and colour jitter are for images of 1 (gray) or 3 (RGB) channels",
            )
            .with("channels", channels)
            .help("leave out rand_augment and color_jitter"));
        }
        Self { dataset, batch, seed, augment, normalisation: None, shuffle: true, depth: DEFAULT_DEPTH }.checked()
    }

    /// Tells the mean and the standard deviation that the model normalises images with: RandAugment fills with the mean, and
    /// erasing draws its noise in these units.
    ///
    /// # Errors
    /// They are not those of images of so many channels.
    pub fn for_model(mut self, normalisation: &Normalisation) -> Result<Self> {
        let [channels, ..] = self.dataset.dims();
        if [normalisation.mean.len(), normalisation.std.len()] != [channels; 2] {
            return Err(Error::new("loader", "the model normalises another number of channels")
                .with("images", channels)
                .with("means", normalisation.mean.len())
                .with("deviations", normalisation.std.len()));
        }
        self.normalisation = Some(normalisation.clone());
        Ok(self)
    }

    /// A loader for evaluation: in order, images as they are, one-hot targets.
    ///
    /// # Errors
    /// The batch size is 0 or the data set empty.
    pub fn evaluation(dataset: Arc<Dataset>, batch: usize) -> Result<Self> {
        let augment = Augment::default();
        Self { dataset, batch, seed: 0, augment, normalisation: None, shuffle: false, depth: DEFAULT_DEPTH }.checked()
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
    /// `step` lies beyond the end of the epoch, the augmentation needs [`Loader::for_model`], or the system refuses a thread.
    pub fn start(&self, epoch: u32, step: usize) -> Result<Batches> {
        if step > self.steps() {
            return Err(Error::new("loader", "the epoch has fewer steps")
                .with("step", step)
                .with("steps", self.steps())
                .help("the run was stopped with other data or another batch size"));
        }
        let normalisation = match &self.normalisation {
            Some(normalisation) => normalisation.clone(),
            None if self.augment.needs_normalisation() => {
                return Err(Error::new("loader", "RandAugment and random erasing need the model's normalisation")
                    .help("call `for_model`"));
            }
            None => Normalisation::none(self.dataset.dims()[0]),
        };
        let (ready, batches) = sync_channel(self.depth);
        let (home, returned) = channel();
        let (order, loader) = (self.order(epoch), self.clone());
        let maker = Maker { order, loader, normalisation, epoch, scratch: Scratch::default() };
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
    normalisation: Normalisation,
    epoch: u32,
    scratch: Scratch,
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
        let Self { loader, order, normalisation, epoch, scratch } = self;
        let Loader { dataset, batch, seed, augment, .. } = loader;
        let (dims, volume, classes) = (dataset.dims(), dataset.volume(), dataset.classes().len());
        let positions: &[usize] = order.chunks(*batch).nth(step).unwrap_or_default();
        samples.clear(*batch, volume, classes);
        let rows = samples.images.chunks_exact_mut(volume).zip(samples.targets.chunks_exact_mut(classes));
        for (&position, (image, target)) in positions.iter().zip(rows) {
            let (id, label) = (dataset.id(position)?, dataset.label(position)?);
            dataset.image_f32(position, image)?;
            augment.apply(image, scratch, dims, normalisation, Key { seed: *seed, epoch: *epoch, id });
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
mod tests;
