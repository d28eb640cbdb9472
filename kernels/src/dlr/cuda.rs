//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::{NAME, TINY};
use crate::common::cuda::{grad_at, source, warp_per_row};

static FORWARD: Source = source("kernels/src/dlr/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/dlr/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "logits")?;
    let [z, y, loss] = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let params = [z, y, loss, rows.into(), classes.into(), TINY.into()];
    exec.launch(Kernel::new(&FORWARD, "forward", logits.dtype), warp_per_row(rows), &params)
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dz, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "logits")?;
    let [z, y, d_loss] = [io.inputs[0].address()?, io.inputs[1].address()?, io.d_output.address()?];
    let params = [z, y, d_loss, dz, rows.into(), classes.into(), add.into(), TINY.into()];
    exec.launch(Kernel::new(&BACKWARD, "backward", logits.dtype), warp_per_row(rows), &params)
}
