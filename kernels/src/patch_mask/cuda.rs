//! Launches on CUDA: the choice among the patches, the mask.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::{NAME, PatchMask};
use crate::common::cuda::source;

static UPDATE: Source = source("kernels/src/patch_mask/update.cu", include_str!("update.cu"));

/// Bytes of a flag for each patch.
pub(super) fn scratch(patches: usize) -> usize {
    patches * size_of::<u32>()
}

pub(super) fn run(update: &PatchMask, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [keep, state]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and two inputs"));
    };
    let spec = delta.spec();
    let ([_, h, w], patches) = update.sizes(&spec)?;
    let flags = io.scratch.address()?;
    let params = [keep.address()?, state.address()?, update.stream.0.into(), patches.into(), flags];
    exec.launch(Kernel::new(&UPDATE, "choose", spec.dtype), Grid::each(patches), &params)?;
    let count = spec.elements();
    let params = [delta.address()?, flags, count.into(), h.into(), w.into(), update.patch.into()];
    exec.launch(Kernel::new(&UPDATE, "apply", spec.dtype), Grid::each(count), &params)
}
