//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Result, WgpuExec};

use super::{Dims, MarkKey};
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/mark_key/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/mark_key/backward.wgsl", include_str!("backward.wgsl"));

fn params(dims: Dims, part: std::ops::Range<usize>) -> [u32; 8] {
    [word(part.len()), word(part.start), word(dims.n), word(dims.w), word(dims.d), 0, 0, 0]
}

pub(super) fn forward(op: &MarkKey, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let dims = op.dims(&io.output.spec())?;
    let args = [io.inputs[0].rows()?, io.inputs[1].whole()?, io.output.rows()?];
    exec.launch_each(&Kernel::new(&FORWARD, "main"), io.output.spec().elements(), &args, |part| params(dims, part))
}

pub(super) fn backward(op: &MarkKey, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let dims = op.dims(&io.d_output.spec())?;
    let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add);
    exec.launch_each(&kernel, io.d_output.spec().elements(), &[io.d_output.rows()?, dx], |part| params(dims, part))
}
