//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

use super::Activation;

pub(super) fn forward(_activation: Activation, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("activation", "has no CUDA kernel yet"))
}

pub(super) fn backward(_activation: Activation, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("activation", "has no CUDA kernel yet"))
}
