//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

use super::DropPath;

pub(super) fn forward(_op: &DropPath, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("drop_path", "has no CUDA kernel yet"))
}

pub(super) fn backward(_op: &DropPath, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("drop_path", "has no CUDA kernel yet"))
}
