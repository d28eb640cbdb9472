//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Result, WgpuExec};

use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/softmin/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/softmin/backward.wgsl", include_str!("backward.wgsl"));

pub(super) fn forward(exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main");
    exec.launch_each(&kernel, io.output.spec().elements(), &args, |part| [word(part.len()), 0, 0, 0])
}

pub(super) fn backward(exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    for (own, grad) in io.d_inputs.iter().enumerate() {
        let Some((grad, add)) = grad_rows(grad.as_ref())? else { continue };
        let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add);
        let args = [io.inputs[own].rows()?, io.inputs[1 - own].rows()?, io.d_output.rows()?, grad];
        exec.launch_each(&kernel, io.d_output.spec().elements(), &args, |part| [word(part.len()), 0, 0, 0])?;
    }
    Ok(())
}
