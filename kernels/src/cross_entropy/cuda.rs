//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

use super::CrossEntropy;

pub(super) fn forward(_op: &CrossEntropy, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("cross_entropy", "has no CUDA kernel yet"))
}

pub(super) fn backward(_op: &CrossEntropy, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("cross_entropy", "has no CUDA kernel yet"))
}
