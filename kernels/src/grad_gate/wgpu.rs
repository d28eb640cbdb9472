//! Launches on wgpu: backward draws the gate first.

use engine::device::source::Source;
use engine::rng::Stream;
use engine::{Arg, Backward, Forward, Kernel, Result, WgpuExec};

use crate::common::gpu::{grad_rows, quads, source, word};

static FORWARD: Source = source("kernels/src/grad_gate/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/grad_gate/backward.wgsl", include_str!("backward.wgsl"));

/// Bytes of the gate in backward.
pub(super) const SCRATCH: usize = size_of::<u32>();

pub(super) fn forward(exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let args = [io.inputs[0].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main");
    exec.launch_rows(&kernel, io.output.spec().elements(), &args, quads, |part| [word(part.len()), 0, 0, 0])
}

pub(super) fn backward(stream: Stream, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let gate = io.scratch.whole()?;
    let args = [io.inputs[1].whole()?, io.inputs[2].whole()?, gate, Arg::Nothing, Arg::Nothing];
    exec.launch(&Kernel::new(&BACKWARD, "choose"), &[0, stream.0, 0, 0], &args, 1)?;
    let args = [Arg::Nothing, Arg::Nothing, gate, io.d_output.rows()?, dx];
    let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add);
    exec.launch_rows(&kernel, io.d_output.spec().elements(), &args, quads, |part| [word(part.len()), 0, 0, 0])
}
