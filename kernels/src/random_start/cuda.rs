//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Error, Result, Spec, UpdateIo};

use super::RandomStart;

pub(super) fn run(_update: &RandomStart, _exec: &mut CudaExec, _io: &UpdateIo) -> Result<()> {
    Err(Error::new("random_start", "has no CUDA kernel yet"))
}

pub(super) fn scratch(_start: super::Start, _delta: &Spec) -> usize {
    0
}
