//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Error, Result, UpdateIo};

use super::PatchMask;

pub(super) fn run(_update: &PatchMask, _exec: &mut CudaExec, _io: &UpdateIo) -> Result<()> {
    Err(Error::new("patch_mask", "has no CUDA kernel yet"))
}

pub(super) fn scratch(_patches: usize) -> usize {
    0
}
