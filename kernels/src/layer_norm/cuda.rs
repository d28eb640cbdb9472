//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result, Spec};

pub(super) fn forward(_eps: f32, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("layer_norm", "has no CUDA kernel yet"))
}

pub(super) fn backward(_exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("layer_norm", "has no CUDA kernel yet"))
}

pub(super) fn scratch(_x: Spec, _caps: engine::device::cuda::Caps) -> usize {
    0
}
