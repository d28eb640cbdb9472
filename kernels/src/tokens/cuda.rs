//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result};

use super::Tokens;

pub(super) fn forward(_op: &Tokens, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("tokens", "has no CUDA kernel yet"))
}

pub(super) fn backward(_op: &Tokens, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("tokens", "has no CUDA kernel yet"))
}
