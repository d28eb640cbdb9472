//! Launches on wgpu: scales that tokens share are drawn once, into scratch.

use bytemuck::{Pod, Zeroable};
use engine::device::source::Source;
use engine::{Arg, Backward, Buf, Forward, Kernel, Result, Spec, WgpuExec};

use super::{Sharing, StochasticScale};
use crate::common::gpu::{grad_rows, law_table, law_words, quads, source, word};
use crate::common::specs::{per_sample_elements, samples};

static FORWARD: Source = source("kernels/src/stochastic_scale/forward.wgsl", include_str!("forward.wgsl"));

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    count: u32,
    first: u32,
    width: u32,
    sample: u32,
    stream: u32,
    padding: [u32; 3],
    law: [f32; 4],
}

/// Scales that tokens of `x` share.
fn shared(sharing: Sharing, x: &Spec) -> usize {
    match sharing {
        Sharing::Batch => x.shape.last(),
        Sharing::PerImage => samples(x) * x.shape.last(),
        Sharing::PerToken => 0,
    }
}

/// Bytes of the scales that tokens share.
pub(super) fn scratch(sharing: Sharing, x: &Spec) -> usize {
    shared(sharing, x) * size_of::<f32>()
}

pub(super) fn forward(op: &StochasticScale, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let ids = io.inputs[2].whole()?;
    scaled(op, exec, io.inputs, [ids, io.scratch.whole()?, io.inputs[0].rows()?, io.output.rows()?], false)
}

pub(super) fn backward(op: &StochasticScale, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let ids = if op.sharing == Sharing::Batch { Arg::Nothing } else { io.inputs[2].whole()? };
    scaled(op, exec, io.inputs, [ids, io.scratch.whole()?, io.d_output.rows()?, dx], add)
}

fn scaled(
    op: &StochasticScale,
    exec: &mut WgpuExec,
    inputs: &[Buf],
    [ids, scales, x, y]: [Arg; 4],
    add: bool,
) -> Result<()> {
    let spec = inputs[0].spec();
    let law = op.distribution.law();
    let (number, law_at) = law_words(law);
    let sample = per_sample_elements(&spec);
    let width = if op.sharing == Sharing::PerToken { sample } else { spec.shape.last() };
    let params = |part: std::ops::Range<usize>| Params {
        count: word(part.len()),
        first: word(part.start),
        width: word(width),
        sample: word(sample),
        stream: op.stream.0,
        padding: [0; 3],
        law: law_at,
    };
    let batch = op.sharing == Sharing::Batch;
    let kernel = |entry| Kernel::new(&FORWARD, entry).with("LAW", number).when("BATCH", batch).when("ADD", add);
    let (state, table) = (inputs[1].whole()?, law_table(exec, law)?);
    if op.sharing == Sharing::PerToken {
        let args = [state, ids, table, Arg::Nothing, x, y];
        return exec.launch_rows(&kernel("own_scales"), spec.elements(), &args, quads, params);
    }
    let drawn = shared(op.sharing, &spec);
    let args = [state, ids, table, scales, Arg::Nothing, Arg::Nothing];
    exec.launch(&kernel("draw"), &params(0..drawn), &args, quads(drawn))?;
    let args = [Arg::Nothing, Arg::Nothing, Arg::Nothing, scales, x, y];
    let entry = if width.is_multiple_of(4) { "shared_quads" } else { "shared_singles" };
    exec.launch_rows(&kernel(entry), spec.elements(), &args, quads, params)
}
