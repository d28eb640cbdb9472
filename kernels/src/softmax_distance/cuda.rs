//! Launches on CUDA: each side's gradient for itself, since both may be added to one value's.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::NAME;
use crate::common::cuda::{grad_at, source, warp_per_row};

static FORWARD: Source = source("kernels/src/softmax_distance/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/softmax_distance/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "a")?;
    let [a, b, distance] = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let kernel = Kernel::new(&FORWARD, "forward", logits.dtype);
    exec.launch(kernel, warp_per_row(rows), &[a, b, distance, rows.into(), classes.into()])
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "a")?;
    let [a, b, d_distance] = [io.inputs[0].address()?, io.inputs[1].address()?, io.d_output.address()?];
    let kernel = Kernel::new(&BACKWARD, "backward", logits.dtype);
    for (grad, [this, other]) in io.d_inputs.iter().zip([[a, b], [b, a]]) {
        let Some((gradient, add)) = grad_at(grad.as_ref())? else { continue };
        let params = [this, other, d_distance, gradient, rows.into(), classes.into(), add.into()];
        exec.launch(kernel, warp_per_row(rows), &params)?;
    }
    Ok(())
}
