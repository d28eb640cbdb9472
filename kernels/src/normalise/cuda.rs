//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Forward, Result, Spec};

use super::Normalise;
use crate::common::cuda::{grad_at, row_grid, source};

static FORWARD: Source = source("kernels/src/normalise/forward.cu", include_str!("forward.cu"));

pub(super) fn forward(op: &Normalise, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    launch(exec, io.output.spec(), [io.inputs[0].address()?, io.output.address()?], &op.mean, &op.std, false)
}

pub(super) fn backward(op: &Normalise, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    launch(exec, io.d_output.spec(), [io.d_output.address()?, dx], &vec![0.0; op.mean.len()], &op.std, add)
}

fn launch(exec: &mut CudaExec, spec: Spec, [x, y]: [Param; 2], mean: &[f32], std: &[f32], add: bool) -> Result<()> {
    let pixels: usize = spec.dims().iter().skip(2).product();
    let planes = spec.elements() / pixels.max(1);
    let table: Vec<f32> = mean.iter().copied().chain(std.iter().map(|std| 1.0 / std)).collect();
    let params = [x, exec.constant(&table)?, y, pixels.into(), std.len().into(), add.into()];
    exec.launch(Kernel::new(&FORWARD, "normalise", spec.dtype), row_grid(planes, pixels), &params)
}
