//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::{CrossEntropy, NAME};
use crate::common::cuda::{grad_at, source, warp_per_row};

static FORWARD: Source = source("kernels/src/cross_entropy/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/cross_entropy/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(op: &CrossEntropy, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "logits")?;
    let [z, t, loss] = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let kernel = |entry| Kernel::new(&FORWARD, entry, logits.dtype);
    let (rows, width, grid) = (rows.into(), classes.into(), warp_per_row(rows));
    match *op {
        CrossEntropy::Soft => exec.launch(kernel("soft"), grid, &[z, t, loss, rows, width]),
        CrossEntropy::Labels { smoothing } => {
            exec.launch(kernel("labels"), grid, &[z, t, loss, rows, width, smoothing.into()])
        }
    }
}

pub(super) fn backward(op: &CrossEntropy, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dz, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "logits")?;
    let [z, t, d_loss] = [io.inputs[0].address()?, io.inputs[1].address()?, io.d_output.address()?];
    let kernel = |entry| Kernel::new(&BACKWARD, entry, logits.dtype);
    let (rows, width, add, grid) = (rows.into(), classes.into(), add.into(), warp_per_row(rows));
    match *op {
        CrossEntropy::Soft => exec.launch(kernel("soft"), grid, &[z, t, d_loss, dz, rows, width, add]),
        CrossEntropy::Labels { smoothing } => {
            exec.launch(kernel("labels"), grid, &[z, t, d_loss, dz, rows, width, add, smoothing.into()])
        }
    }
}
