//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result, Scratch};

use super::Attention;

pub(super) fn forward(_op: &Attention, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("attention", "has no CUDA kernel yet"))
}

pub(super) fn backward(_op: &Attention, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("attention", "has no CUDA kernel yet"))
}

pub(super) fn scratch(_dims: super::Dims) -> Scratch {
    Scratch::default()
}
