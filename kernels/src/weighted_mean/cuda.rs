//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

use super::Reduction;

pub(super) fn forward(_reduction: Reduction, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("weighted_mean", "has no CUDA kernel yet"))
}

pub(super) fn backward(_reduction: Reduction, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("weighted_mean", "has no CUDA kernel yet"))
}
