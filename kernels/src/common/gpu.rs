//! What the WGSL side of ops shares: the files that kernels include, and sizes as kernels take them.

use engine::device::source::{Library, Source};
use engine::rng::normal_table;
use engine::{Arg, Grad, Mode, Result, Spec, WgpuExec};

use super::random::Law;
use super::specs::{per_sample_elements, samples};

/// Files that kernels include by name.
pub(crate) const LIBRARY: Library = &[
    ("attack.wgsl", include_str!("wgsl/attack.wgsl")),
    ("attention.wgsl", include_str!("wgsl/attention.wgsl")),
    ("attention_backward.wgsl", include_str!("wgsl/attention_backward.wgsl")),
    ("attention_forward.wgsl", include_str!("wgsl/attention_forward.wgsl")),
    ("attention_fours.wgsl", include_str!("wgsl/attention_fours.wgsl")),
    ("attention_ones.wgsl", include_str!("wgsl/attention_ones.wgsl")),
    ("attention_shuffles.wgsl", include_str!("wgsl/attention_shuffles.wgsl")),
    ("attention_tiles.wgsl", include_str!("wgsl/attention_tiles.wgsl")),
    ("ball_norm.wgsl", include_str!("wgsl/ball_norm.wgsl")),
    ("clip.wgsl", include_str!("wgsl/clip.wgsl")),
    ("decay.wgsl", include_str!("wgsl/decay.wgsl")),
    ("draws.wgsl", include_str!("wgsl/draws.wgsl")),
    ("gemm.subgroup.wgsl", include_str!("wgsl/gemm.subgroup.wgsl")),
    ("gemm.tiled.wgsl", include_str!("wgsl/gemm.tiled.wgsl")),
    ("gemm.wgsl", include_str!("wgsl/gemm.wgsl")),
    ("index.wgsl", include_str!("wgsl/index.wgsl")),
    ("lanes.subgroup.wgsl", include_str!("wgsl/lanes.subgroup.wgsl")),
    ("lanes.wgsl", include_str!("wgsl/lanes.wgsl")),
    ("law.wgsl", include_str!("wgsl/law.wgsl")),
    ("layer_norm_backward.wgsl", include_str!("wgsl/layer_norm_backward.wgsl")),
    ("layer_norm_forward.wgsl", include_str!("wgsl/layer_norm_forward.wgsl")),
    ("mart.wgsl", include_str!("wgsl/mart.wgsl")),
    ("math.wgsl", include_str!("wgsl/math.wgsl")),
    ("norm.wgsl", include_str!("wgsl/norm.wgsl")),
    ("pair.wgsl", include_str!("wgsl/pair.wgsl")),
    ("philox.wgsl", include_str!("wgsl/philox.wgsl")),
    ("progress.wgsl", include_str!("wgsl/progress.wgsl")),
    ("put.wgsl", include_str!("wgsl/put.wgsl")),
    ("quad.wgsl", include_str!("wgsl/quad.wgsl")),
    ("reduce.wgsl", include_str!("wgsl/reduce.wgsl")),
    ("row_norm.wgsl", include_str!("wgsl/row_norm.wgsl")),
    ("rows.wgsl", include_str!("wgsl/rows.wgsl")),
    ("scale.wgsl", include_str!("wgsl/scale.wgsl")),
    ("selection.wgsl", include_str!("wgsl/selection.wgsl")),
    ("squares.wgsl", include_str!("wgsl/squares.wgsl")),
    ("top.wgsl", include_str!("wgsl/top.wgsl")),
];

/// A kernel file with our library. `file` is its path in the repository.
pub(crate) const fn source(file: &'static str, text: &'static str) -> Source {
    Source { file, text, library: LIBRARY }
}

/// A size as kernels take it. Bindings hold far fewer elements than saturate it.
pub(crate) fn word(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Workgroups of 64 invocations that handle four of `count` elements each.
pub(crate) fn quads(count: usize) -> usize {
    count.div_ceil(256)
}

/// Elements of a sample whose squares one workgroup adds: CHUNK of `norm.wgsl`.
const CHUNK: usize = 4096;

/// Workgroups that share a sample of `width` elements where `norm.wgsl` takes its norm.
pub(crate) fn chunks(width: usize) -> usize {
    width.div_ceil(CHUNK)
}

/// Bytes of the partial sums that `norm.wgsl` keeps of one norm per sample.
pub(crate) fn partials(spec: &Spec) -> usize {
    samples(spec) * chunks(per_sample_elements(spec)) * 8
}

/// A law as `law.wgsl` takes it: the value of its LAW, and its parameters.
pub(crate) fn law_words(law: Law) -> (u32, [f32; 4]) {
    match law {
        Law::Uniform { low, width } => (0, [low, width, 0.0, 0.0]),
        Law::Normal { mean, std } => (1, [mean, std, 0.0, 0.0]),
        Law::TwoPoint { q, on, off } => (2, [q, on, off, 0.0]),
    }
}

/// The table that `law.wgsl` reads.
///
/// # Errors
/// As [`WgpuExec::constant`].
pub(crate) fn law_table(exec: &WgpuExec, law: Law) -> Result<Arg> {
    match law {
        Law::Normal { .. } => exec.constant(normal_table()),
        Law::Uniform { .. } | Law::TwoPoint { .. } => Ok(Arg::Nothing),
    }
}

/// A gradient that is wanted: its buffer row by row, and whether it is added to.
pub(crate) fn grad_rows(grad: Option<&Grad>) -> Result<Option<(Arg, bool)>> {
    grad.map(|grad| Ok((grad.buf.rows()?, grad.mode == Mode::Add))).transpose()
}

/// A gradient that is wanted: its buffer as a whole, and whether it is added to.
pub(crate) fn grad_whole(grad: Option<&Grad>) -> Result<Option<(Arg, bool)>> {
    grad.map(|grad| Ok((grad.buf.whole()?, grad.mode == Mode::Add))).transpose()
}
