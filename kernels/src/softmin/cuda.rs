//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use crate::common::cuda::{grad_at, source};

static FORWARD: Source = source("kernels/src/softmin/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/softmin/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let [a, b, y] = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let kernel = Kernel::new(&FORWARD, "forward", spec.dtype);
    exec.launch(kernel, Grid::each(spec.elements()), &[a, b, y, spec.elements().into()])
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let spec = io.d_output.spec();
    for (own, grad) in io.d_inputs.iter().enumerate() {
        let Some((grad, add)) = grad_at(grad.as_ref())? else { continue };
        let [own, other] = [io.inputs[own].address()?, io.inputs[1 - own].address()?];
        let params = [own, other, io.d_output.address()?, grad, spec.elements().into(), add.into()];
        exec.launch(Kernel::new(&BACKWARD, "backward", spec.dtype), Grid::each(spec.elements()), &params)?;
    }
    Ok(())
}
