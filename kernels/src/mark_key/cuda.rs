//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::MarkKey;
use crate::common::cuda::{flat_grid, grad_at, source};

static FORWARD: Source = source("kernels/src/mark_key/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/mark_key/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(op: &MarkKey, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let dims = op.dims(&spec)?;
    let buffers = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let sizes = [spec.elements(), dims.n, dims.w, dims.d].map(Into::into);
    let kernel = Kernel::new(&FORWARD, "forward", spec.dtype);
    exec.launch(kernel, flat_grid(spec.elements()), &[&buffers[..], &sizes].concat())
}

pub(super) fn backward(op: &MarkKey, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let spec = io.d_output.spec();
    let dims = op.dims(&spec)?;
    let params = [io.d_output.address()?, dx, spec.elements().into(), dims.w.into(), add.into()];
    exec.launch(Kernel::new(&BACKWARD, "backward", spec.dtype), flat_grid(spec.elements()), &params)
}
