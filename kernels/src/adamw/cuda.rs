//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Error, Result, UpdateIo};

use super::AdamW;

pub(super) fn run(_options: &AdamW, _exec: &mut CudaExec, _io: &UpdateIo) -> Result<()> {
    Err(Error::new("adamw", "has no CUDA kernel yet"))
}
