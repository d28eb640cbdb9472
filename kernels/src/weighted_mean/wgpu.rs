//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Result, WgpuExec};

use super::Reduction;
use crate::common::gpu::{grad_whole, source, word};

static FORWARD: Source = source("kernels/src/weighted_mean/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/weighted_mean/backward.wgsl", include_str!("backward.wgsl"));

pub(super) fn forward(reduction: Reduction, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let kernel = Kernel::new(&FORWARD, "main").when("MEAN", reduction == Reduction::Mean);
    let args = [io.inputs[0].whole()?, io.inputs[1].whole()?, io.output.whole()?];
    exec.launch(&kernel, &[word(io.inputs[0].spec().elements()), 0, 0, 0], &args, 1)
}

pub(super) fn backward(reduction: Reduction, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dv, add)) = grad_whole(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let kernel = Kernel::new(&BACKWARD, "main").when("MEAN", reduction == Reduction::Mean).when("ADD", add);
    let args = [io.inputs[1].whole()?, io.d_output.whole()?, dv];
    exec.launch(&kernel, &[word(io.inputs[1].spec().elements()), 0, 0, 0], &args, 1)
}
