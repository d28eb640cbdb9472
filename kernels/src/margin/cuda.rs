//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

pub(super) fn forward(_cap: Option<f64>, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("margin", "has no CUDA kernel yet"))
}

pub(super) fn backward(_cap: Option<f64>, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("margin", "has no CUDA kernel yet"))
}
