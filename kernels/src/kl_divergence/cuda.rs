//! Launches on CUDA: each side's gradient for itself, since both may be added to one value's.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::NAME;
use crate::common::cuda::{grad_at, source, warp_per_row};

static FORWARD: Source = source("kernels/src/kl_divergence/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/kl_divergence/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "a")?;
    let [a, b, kl] = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let kernel = Kernel::new(&FORWARD, "forward", logits.dtype);
    exec.launch(kernel, warp_per_row(rows), &[a, b, kl, rows.into(), classes.into()])
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "a")?;
    let [a, b, d_kl] = [io.inputs[0].address()?, io.inputs[1].address()?, io.d_output.address()?];
    for (grad, entry) in io.d_inputs.iter().zip(["first", "second"]) {
        let Some((gradient, add)) = grad_at(grad.as_ref())? else { continue };
        let params = [a, b, d_kl, gradient, rows.into(), classes.into(), add.into()];
        exec.launch(Kernel::new(&BACKWARD, entry, logits.dtype), warp_per_row(rows), &params)?;
    }
    Ok(())
}
