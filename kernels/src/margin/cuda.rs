//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Real, Result};

use super::NAME;
use crate::common::cuda::{grad_at, source, warp_per_row};

static FORWARD: Source = source("kernels/src/margin/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/margin/backward.cu", include_str!("backward.cu"));

/// The cap as kernels take it, where there is one.
fn capped(cap: Option<f64>) -> (bool, f32) {
    (cap.is_some(), cap.map_or(0.0, f32::from_f64))
}

pub(super) fn forward(cap: Option<f64>, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "logits")?;
    let (capped, cap) = capped(cap);
    let [z, y, loss] = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let params = [z, y, loss, rows.into(), classes.into(), capped.into(), cap.into()];
    exec.launch(Kernel::new(&FORWARD, "forward", logits.dtype), warp_per_row(rows), &params)
}

pub(super) fn backward(cap: Option<f64>, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dz, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "logits")?;
    let (capped, cap) = capped(cap);
    let [z, y, d_loss] = [io.inputs[0].address()?, io.inputs[1].address()?, io.d_output.address()?];
    let params = [z, y, d_loss, dz, rows.into(), classes.into(), add.into(), capped.into(), cap.into()];
    exec.launch(Kernel::new(&BACKWARD, "backward", logits.dtype), warp_per_row(rows), &params)
}
