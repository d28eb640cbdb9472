//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::{NAME, Scale, TINY};
use crate::common::cuda::{grad_at, source};

static BOTH: Source = source("kernels/src/targeted/both.cu", include_str!("both.cu"));

pub(super) fn forward(scale: Scale, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "logits")?;
    let [z, y, t] = [io.inputs[0].address()?, io.inputs[1].address()?, io.inputs[2].address()?];
    let scaled = scale == Scale::Dlr;
    let params = [z, y, t, io.output.address()?, rows.into(), classes.into(), scaled.into(), TINY.into()];
    exec.launch(Kernel::new(&BOTH, "forward", logits.dtype), Grid::each(rows), &params)
}

pub(super) fn backward(scale: Scale, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dz, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let logits = io.inputs[0].spec();
    let [rows, classes] = logits.array(NAME, "logits")?;
    let [z, y, t] = [io.inputs[0].address()?, io.inputs[1].address()?, io.inputs[2].address()?];
    let (d_loss, scaled) = (io.d_output.address()?, scale == Scale::Dlr);
    let params = [z, y, t, d_loss, dz, rows.into(), classes.into(), add.into(), scaled.into(), TINY.into()];
    exec.launch(Kernel::new(&BOTH, "backward", logits.dtype), Grid::each(rows), &params)
}
