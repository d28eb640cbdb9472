//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Error, Result, UpdateIo};

pub(super) fn run(_decay: f64, _exec: &mut CudaExec, _io: &UpdateIo) -> Result<()> {
    Err(Error::new("ema", "has no CUDA kernel yet"))
}
