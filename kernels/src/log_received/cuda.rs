//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::{Dims, LogReceived};
use crate::common::cuda::{grad_at, source, warp_per_row};

static FORWARD: Source = source("kernels/src/log_received/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/log_received/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(op: &LogReceived, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.inputs[0].spec();
    let Dims { b, n, h, d } = op.dims(&spec)?;
    let params = [io.inputs[0].address()?, io.output.address()?, n.into(), h.into(), d.into()];
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), Grid::new(b, 256), &params)
}

pub(super) fn backward(op: &LogReceived, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let spec = io.inputs[0].spec();
    let Dims { b, n, h, d } = op.dims(&spec)?;
    let buffers = [io.inputs[0].address()?, io.d_output.address()?, dx];
    let params = [&buffers[..], &[b * n, n, h, d].map(Into::into), &[add.into()]].concat();
    exec.launch(Kernel::new(&BACKWARD, "backward", spec.dtype), warp_per_row(b * n), &params)
}
