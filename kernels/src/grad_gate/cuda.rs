//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, DType, Error, Forward, Result};

use super::{NAME, Stream};
use crate::common::cuda::{flat_grid, grad_at, source};

static FORWARD: Source = source("kernels/src/grad_gate/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/grad_gate/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let params = [io.inputs[0].address()?, io.output.address()?, spec.elements().into()];
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), flat_grid(spec.elements()), &params)
}

pub(super) fn backward(stream: Stream, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let (spec, keep) = (io.d_output.spec(), io.inputs[2]);
    if keep.spec().dtype != DType::F32 {
        return Err(Error::new(NAME, "the keep probability must be f32 on this device").with("keep", keep.spec()));
    }
    let buffers = [io.d_output.address()?, io.inputs[1].address()?, keep.address()?, dx];
    let numbers = [spec.elements().into(), stream.0.into(), add.into()];
    let kernel = Kernel::new(&BACKWARD, "backward", spec.dtype);
    exec.launch(kernel, flat_grid(spec.elements()), &[buffers.as_slice(), &numbers].concat())
}
