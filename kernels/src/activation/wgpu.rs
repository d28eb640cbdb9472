//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Result, WgpuExec};

use super::Activation;
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/activation/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/activation/backward.wgsl", include_str!("backward.wgsl"));

pub(super) fn forward(activation: Activation, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let kernel = Kernel::new(&FORWARD, "main").when("GELU", activation == Activation::Gelu);
    let args = [io.inputs[0].rows()?, io.output.rows()?];
    exec.launch_each(&kernel, io.output.spec().elements(), &args, |part| [word(part.len()), 0, 0, 0])
}

pub(super) fn backward(activation: Activation, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let kernel = Kernel::new(&BACKWARD, "main").when("GELU", activation == Activation::Gelu).when("ADD", add);
    let args = [io.inputs[0].rows()?, io.d_output.rows()?, dx];
    exec.launch_each(&kernel, io.d_output.spec().elements(), &args, |part| [word(part.len()), 0, 0, 0])
}
