//! Launches on wgpu: one for all starts but directions, whose norms come in between.

use bytemuck::{Pod, Zeroable};
use engine::device::source::Source;
use engine::{Error, Kernel, Result, Spec, UpdateIo, WgpuExec};

use super::{NAME, RandomStart, Start};
use crate::common::gpu::{chunks, law_table, law_words, partials, quads, source, word};
use crate::common::random::Law;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/random_start/update.wgsl", include_str!("update.wgsl"));

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    count: u32,
    first: u32,
    width: u32,
    chunks: u32,
    stream: u32,
    std: f32,
    padding: [u32; 2],
    law: [f32; 4],
}

/// Bytes of the partial sums of one norm per sample, where norms are taken.
pub(super) fn scratch(start: Start, delta: &Spec) -> usize {
    if start == Start::L2 { partials(delta) } else { 0 }
}

pub(super) fn run(update: &RandomStart, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [x, ids, eps, state]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and four inputs"));
    };
    let spec = x.spec();
    let (b, width) = (samples(&spec), per_sample_elements(&spec));
    let chunks = chunks(width);
    let (law, std) = match update.start {
        Start::Zero => (Law::Uniform { low: 0.0, width: 0.0 }, Some(1.0)),
        Start::Uniform => (Law::Uniform { low: -1.0, width: 2.0 }, None),
        Start::Normal(std) => (Law::Normal { mean: 0.0, std: 1.0 }, Some(std)),
        Start::L2 => (Law::Normal { mean: 0.0, std: 1.0 }, None),
    };
    let (number, law_at) = law_words(law);
    let params = |part: std::ops::Range<usize>| Params {
        count: word(part.len()),
        first: word(part.start),
        width: word(width),
        chunks: word(chunks),
        stream: update.stream.0,
        std: std.unwrap_or_default(),
        padding: [0; 2],
        law: law_at,
    };
    let args = [
        delta.rows()?,
        x.rows()?,
        ids.whole()?,
        eps.whole()?,
        state.whole()?,
        law_table(exec, law)?,
        io.scratch.whole()?,
    ];
    let kernel = |entry| Kernel::new(&UPDATE, entry).with("LAW", number).when("BALL", std.is_none());
    if update.start == Start::L2 {
        for entry in ["draw", "place"] {
            exec.launch_rows(&kernel(entry), b, &args, |samples| samples * chunks, params)?;
        }
        return Ok(());
    }
    exec.launch_rows(&kernel("main"), spec.elements(), &args, quads, params)
}
