//! Launches on CUDA: each side's gradient for itself, since both may be added to one value's.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::NAME;
use crate::common::cuda::{grad_at, source, warp_per_row};

static FORWARD: Source = source("kernels/src/mart/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/mart/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(beta: f64, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "clean")?;
    let [a, b, y] = [io.inputs[0].address()?, io.inputs[1].address()?, io.inputs[2].address()?];
    let params = [a, b, y, io.output.address()?, rows.into(), classes.into(), beta.into()];
    exec.launch(Kernel::new(&FORWARD, "forward", logits.dtype), warp_per_row(rows), &params)
}

pub(super) fn backward(beta: f64, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "clean")?;
    let [a, b, y] = [io.inputs[0].address()?, io.inputs[1].address()?, io.inputs[2].address()?];
    let d_loss = io.d_output.address()?;
    for (grad, entry) in io.d_inputs.iter().zip(["first", "second"]) {
        let Some((gradient, add)) = grad_at(grad.as_ref())? else { continue };
        let params = [a, b, y, d_loss, gradient, rows.into(), classes.into(), add.into(), beta.into()];
        exec.launch(Kernel::new(&BACKWARD, entry, logits.dtype), warp_per_row(rows), &params)?;
    }
    Ok(())
}
