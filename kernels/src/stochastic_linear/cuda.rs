//! Launches on CUDA.

use engine::device::cuda::CudaExec;
use engine::{Backward, Error, Forward, Inputs, Result, Scratch, Spec};

use super::StochasticLinear;

pub(super) fn forward(_op: &StochasticLinear, _exec: &mut CudaExec, _io: &Forward) -> Result<()> {
    Err(Error::new("stochastic_linear", "has no CUDA kernel yet"))
}

pub(super) fn backward(_op: &StochasticLinear, _exec: &mut CudaExec, _io: &Backward) -> Result<()> {
    Err(Error::new("stochastic_linear", "has no CUDA kernel yet"))
}

pub(super) fn scratch(_op: &StochasticLinear, _inputs: &[Spec], _wanted: Inputs) -> Scratch {
    Scratch::default()
}
