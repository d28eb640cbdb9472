//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use crate::common::cuda::{grad_at, source};

static FORWARD: Source = source("kernels/src/residual/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/residual/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let count = spec.elements();
    let gamma = Param::or_null(io.inputs.get(2).map(|gamma| gamma.address()))?;
    let [x, f, y] = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let params = [x, f, gamma, y, count.into(), spec.shape.last().into()];
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), Grid::each(count), &params)
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let spec = io.d_output.spec();
    let (count, rows, width) = (spec.elements(), spec.shape.rows(), spec.shape.last());
    let dy = io.d_output.address()?;
    if let Some((df, add)) = grad_at(io.d_inputs[1].as_ref())? {
        let params = [dy, io.inputs[2].address()?, df, count.into(), width.into(), add.into()];
        exec.launch(Kernel::new(&BACKWARD, "branch", spec.dtype), Grid::each(count), &params)?;
    }
    if let Some((dgamma, add)) = grad_at(io.d_inputs.get(2).and_then(Option::as_ref))? {
        let params = [dy, io.inputs[1].address()?, dgamma, rows.into(), width.into(), add.into()];
        exec.launch(Kernel::new(&BACKWARD, "gamma", spec.dtype), Grid::new(width.div_ceil(32), 256), &params)?;
    }
    Ok(())
}
