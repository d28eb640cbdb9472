//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

use super::Normalise;

pub(super) fn forward(_op: &Normalise, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("normalise", "has no CUDA kernel yet"))
}

pub(super) fn backward(_op: &Normalise, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("normalise", "has no CUDA kernel yet"))
}
