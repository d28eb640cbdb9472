//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::Reduction;
use crate::common::cuda::{grad_at, source};

static FORWARD: Source = source("kernels/src/weighted_mean/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/weighted_mean/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(reduction: Reduction, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.inputs[0].spec();
    let buffers = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let params = [buffers.as_slice(), &[spec.elements().into(), (reduction == Reduction::Mean).into()]].concat();
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), Grid::new(1, 256), &params)
}

pub(super) fn backward(reduction: Reduction, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dv, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let spec = io.inputs[1].spec();
    let numbers = [spec.elements().into(), (reduction == Reduction::Mean).into(), add.into()];
    let params = [[io.inputs[1].address()?, io.d_output.address()?, dv].as_slice(), &numbers].concat();
    exec.launch(Kernel::new(&BACKWARD, "backward", spec.dtype), Grid::new(1, 256), &params)
}
