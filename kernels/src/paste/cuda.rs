//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use crate::common::cuda::{flat_grid, grad_at, source};

static FORWARD: Source = source("kernels/src/paste/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/paste/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let [image, patch, mask] = [io.inputs[0].address()?, io.inputs[1].address()?, io.inputs[2].address()?];
    let params = [image, patch, mask, io.output.address()?, spec.elements().into()];
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), flat_grid(spec.elements()), &params)
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let spec = io.d_output.spec();
    for (inside, dx) in [false, true].into_iter().zip(io.d_inputs.iter()) {
        let Some((dx, add)) = grad_at(dx.as_ref())? else { continue };
        let [dy, mask] = [io.d_output.address()?, io.inputs[2].address()?];
        let params = [dy, mask, dx, spec.elements().into(), inside.into(), add.into()];
        exec.launch(Kernel::new(&BACKWARD, "backward", spec.dtype), flat_grid(spec.elements()), &params)?;
    }
    Ok(())
}
