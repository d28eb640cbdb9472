//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

pub(super) fn forward(_exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("dlr", "has no CUDA kernel yet"))
}

pub(super) fn backward(_exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("dlr", "has no CUDA kernel yet"))
}
