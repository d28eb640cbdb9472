//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::Activation;
use crate::common::cuda::{flat_grid, grad_at, source};
use crate::common::product::activation_number;

static FORWARD: Source = source("kernels/src/activation/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/activation/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(activation: Activation, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let (count, which) = (spec.elements(), activation_number(Some(activation)));
    let params = [io.inputs[0].address()?, io.output.address()?, count.into(), which.into()];
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), flat_grid(count), &params)
}

pub(super) fn backward(activation: Activation, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let spec = io.d_output.spec();
    let (count, which) = (spec.elements(), activation_number(Some(activation)));
    let params = [io.inputs[0].address()?, io.d_output.address()?, dx, count.into(), which.into(), add.into()];
    exec.launch(Kernel::new(&BACKWARD, "backward", spec.dtype), flat_grid(count), &params)
}
