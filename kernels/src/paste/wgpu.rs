//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Result, WgpuExec};

use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/paste/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/paste/backward.wgsl", include_str!("backward.wgsl"));

pub(super) fn forward(exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.inputs[2].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main");
    exec.launch_each(&kernel, io.output.spec().elements(), &args, |part| [word(part.len()), 0, 0, 0])
}

pub(super) fn backward(exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    for (inside, dx) in [false, true].into_iter().zip(io.d_inputs.iter()) {
        let Some((dx, add)) = grad_rows(dx.as_ref())? else { continue };
        let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add).when("INSIDE", inside);
        let args = [io.d_output.rows()?, io.inputs[2].rows()?, dx];
        exec.launch_each(&kernel, io.d_output.spec().elements(), &args, |part| [word(part.len()), 0, 0, 0])?;
    }
    Ok(())
}
