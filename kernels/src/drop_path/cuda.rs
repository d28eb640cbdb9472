//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Buf, Forward, Result};

use super::DropPath;
use crate::common::cuda::{grad_at, row_grid, source};
use crate::common::specs::{per_sample_elements, samples};

static FORWARD: Source = source("kernels/src/drop_path/forward.cu", include_str!("forward.cu"));

pub(super) fn forward(op: &DropPath, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    masked(op, exec, io.inputs, [io.inputs[0].address()?, io.output.address()?], false)
}

pub(super) fn backward(op: &DropPath, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    masked(op, exec, io.inputs, [io.d_output.address()?, dx], add)
}

fn masked(op: &DropPath, exec: &mut CudaExec, inputs: &[Buf], [x, y]: [Param; 2], add: bool) -> Result<()> {
    let spec = inputs[0].spec();
    let (b, width, keep) = (samples(&spec), per_sample_elements(&spec), 1.0 - op.rate);
    let buffers = [x, inputs[1].address()?, inputs[2].address()?, y];
    let numbers = [width.into(), op.stream.0.into(), keep.into(), (1.0 / keep).into(), add.into()];
    let kernel = Kernel::new(&FORWARD, "drop_path", spec.dtype);
    exec.launch(kernel, row_grid(b, width), &[buffers.as_slice(), &numbers].concat())
}
