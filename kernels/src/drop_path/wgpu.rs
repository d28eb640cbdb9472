//! Launches on wgpu: the choice per sample, then the elements.

use engine::device::source::Source;
use engine::{Arg, Backward, Buf, Forward, Kernel, Result, Spec, WgpuExec};

use super::DropPath;
use crate::common::gpu::{grad_rows, quads, source, word};
use crate::common::specs::{per_sample_elements, samples};

static FORWARD: Source = source("kernels/src/drop_path/forward.wgsl", include_str!("forward.wgsl"));

/// Bytes of a flag per sample.
pub(super) fn scratch(x: &Spec) -> usize {
    samples(x) * size_of::<u32>()
}

pub(super) fn forward(op: &DropPath, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    masked(op, exec, io.inputs, io.scratch.whole()?, [io.inputs[0].rows()?, io.output.rows()?], false)
}

pub(super) fn backward(op: &DropPath, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    masked(op, exec, io.inputs, io.scratch.whole()?, [io.d_output.rows()?, dx], add)
}

fn masked(op: &DropPath, exec: &mut WgpuExec, inputs: &[Buf], kept: Arg, [x, y]: [Arg; 2], add: bool) -> Result<()> {
    let spec = inputs[0].spec();
    let (b, width) = (samples(&spec), word(per_sample_elements(&spec)));
    let keep = 1.0 - op.rate;
    let params = |part: std::ops::Range<usize>| {
        let factor = 1.0 / keep;
        [word(part.len()), word(part.start), width, op.stream.0, keep.to_bits(), factor.to_bits(), 0, 0]
    };
    let args = [inputs[1].whole()?, inputs[2].whole()?, kept, Arg::Nothing, Arg::Nothing];
    exec.launch(&Kernel::new(&FORWARD, "choose"), &params(0..b), &args, b.div_ceil(64))?;
    let args = [Arg::Nothing, Arg::Nothing, kept, x, y];
    exec.launch_rows(&Kernel::new(&FORWARD, "main").when("ADD", add), spec.elements(), &args, quads, params)
}
