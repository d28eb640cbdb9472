//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Error, Result, UpdateIo};

use super::Sgd;

pub(super) fn run(_options: &Sgd, _exec: &mut CudaExec, _io: &UpdateIo) -> Result<()> {
    Err(Error::new("sgd", "has no CUDA kernel yet"))
}
