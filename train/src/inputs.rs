//! The variables that a batch lies in: written by the host, read by attack and training plans where they lie.

use engine::rng::Philox;
use engine::{DType, Result, Store, Tape, Tensor, Var};
use models::VitConfig;
use models::vit::Random;

use crate::data::loader::Samples;

/// Variables of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    /// Samples of a batch.
    pub batch: usize,
    /// Clean images f32 [b, c, h, w] in [0, 1].
    pub images: Var,
    /// Soft labels f32 [b, classes].
    pub targets: Var,
    /// Class indices i32 `[b]`.
    pub labels: Var,
    /// Sample ids u32 `[b]`.
    pub ids: Var,
    /// Weights f32 `[b]`: 0 for the padding of a short batch.
    pub weights: Var,
    /// Perturbation f32 [b, c, h, w] of the images.
    pub delta: Var,
    /// Random state of training passes, u32 `[4]`.
    pub random: Var,
}

impl Inputs {
    /// Variables for batches of `batch` images of `config`'s shape.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(store: &mut Store, config: &VitConfig, batch: usize) -> Result<Self> {
        let image = [batch, config.channels, config.image[0], config.image[1]];
        Ok(Self {
            batch,
            images: store.data_var("images", DType::F32, &image)?,
            targets: store.data_var("targets", DType::F32, &[batch, config.classes])?,
            labels: store.data_var("labels", DType::I32, &[batch])?,
            ids: store.data_var("ids", DType::U32, &[batch])?,
            weights: store.data_var("weights", DType::F32, &[batch])?,
            delta: store.data_var("delta", DType::F32, &image)?,
            random: store.data_var("random", DType::U32, &[engine::rng::STATE_WORDS])?,
        })
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// The batch has another size.
    pub fn write(&self, store: &mut Store, samples: &Samples) -> Result<()> {
        store.write_values(self.images, &samples.images)?;
        store.write_values(self.targets, &samples.targets)?;
        store.write_values(self.labels, &samples.labels)?;
        store.write_values(self.ids, &samples.ids)?;
        store.write_values(self.weights, &samples.weights)
    }

    /// Sets the random state of training passes: a function of seed and step.
    ///
    /// # Errors
    /// The device failed.
    pub fn seed(&self, store: &mut Store, seed: u64, step: u32) -> Result<()> {
        store.write_values(self.random, &Philox::state(seed, step))
    }

    /// Removes the perturbation.
    ///
    /// # Errors
    /// The device failed.
    pub fn clear_delta(&self, store: &mut Store) -> Result<()> {
        let zeros = Tensor::zeros(store.spec(self.delta)?);
        store.write(self.delta, &zeros)
    }

    /// The random state `state` with this batch's ids, on a tape.
    ///
    /// # Errors
    /// The variables belong to another store.
    pub fn draws(&self, tape: &mut Tape, store: &Store, state: Var) -> Result<Random> {
        Ok(Random { state: tape.var(store, state)?, ids: tape.var(store, self.ids)? })
    }
}
