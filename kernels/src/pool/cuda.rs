//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

use super::Pool;

pub(super) fn forward(_pool: Pool, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("pool", "has no CUDA kernel yet"))
}

pub(super) fn backward(_pool: Pool, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("pool", "has no CUDA kernel yet"))
}
