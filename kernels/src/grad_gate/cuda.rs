//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

use super::Stream;

pub(super) fn forward(_exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("grad_gate", "has no CUDA kernel yet"))
}

pub(super) fn backward(_stream: Stream, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("grad_gate", "has no CUDA kernel yet"))
}
