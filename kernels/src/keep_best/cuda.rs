//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Error, Result, UpdateIo};

pub(super) fn run(_exec: &mut CudaExec, _io: &UpdateIo) -> Result<()> {
    Err(Error::new("keep_best", "has no CUDA kernel yet"))
}
