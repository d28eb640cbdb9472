//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Result, Spec};

use super::StochasticScale;

pub(super) fn forward(_op: &StochasticScale, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("stochastic_scale", "has no CUDA kernel yet"))
}

pub(super) fn backward(_op: &StochasticScale, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("stochastic_scale", "has no CUDA kernel yet"))
}

pub(super) fn scratch(_sharing: super::Sharing, _x: &Spec) -> usize {
    0
}
