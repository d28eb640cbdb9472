//! What the CUDA side of ops shares: the headers that kernels include, and values as kernels take them.

use engine::device::cuda::{CudaExec, Grid, Param};
use engine::device::source::{Library, Source};
use engine::rng::normal_table;
use engine::{Grad, Mode, Result, Spec};

use super::decay::Decay;
use super::gpu::law_words;
use super::gpu::word;
use super::random::Law;
use super::specs::{per_sample_elements, samples};

/// Headers that kernels include by name.
pub(crate) const LIBRARY: Library = &[
    ("attack.cuh", include_str!("cuda/attack.cuh")),
    ("attention.cuh", include_str!("cuda/attention.cuh")),
    ("attention_backward.cuh", include_str!("cuda/attention_backward.cuh")),
    ("attention_backward90.cuh", include_str!("cuda/attention_backward90.cuh")),
    ("attention_forward.cuh", include_str!("cuda/attention_forward.cuh")),
    ("attention_forward90.cuh", include_str!("cuda/attention_forward90.cuh")),
    ("attention_hopper.cuh", include_str!("cuda/attention_hopper.cuh")),
    ("attention_softmax.cuh", include_str!("cuda/attention_softmax.cuh")),
    ("attention_tensor.cuh", include_str!("cuda/attention_tensor.cuh")),
    ("ball_norm.cuh", include_str!("cuda/ball_norm.cuh")),
    ("bf16.cuh", include_str!("cuda/bf16.cuh")),
    ("columns.cuh", include_str!("cuda/columns.cuh")),
    ("divergence.cuh", include_str!("cuda/divergence.cuh")),
    ("drawn.cuh", include_str!("cuda/drawn.cuh")),
    ("epilogue.cuh", include_str!("gemm_cuda/epilogue.cuh")),
    ("four.cuh", include_str!("cuda/four.cuh")),
    ("lanes.cuh", include_str!("cuda/lanes.cuh")),
    ("mart.cuh", include_str!("cuda/mart.cuh")),
    ("math.cuh", include_str!("cuda/math.cuh")),
    ("optimizer.cuh", include_str!("cuda/optimizer.cuh")),
    ("philox.cuh", include_str!("cuda/philox.cuh")),
    ("product.cuh", include_str!("gemm_cuda/product.cuh")),
    ("progress.cuh", include_str!("cuda/progress.cuh")),
    ("ptx.cuh", include_str!("ptx.cuh")),
    ("ptx90.cuh", include_str!("ptx90.cuh")),
    ("ratio.cuh", include_str!("cuda/ratio.cuh")),
    ("reduce.cuh", include_str!("cuda/reduce.cuh")),
    ("row_parts.cuh", include_str!("cuda/row_parts.cuh")),
    ("rows.cuh", include_str!("cuda/rows.cuh")),
    ("storage.cuh", include_str!("cuda/storage.cuh")),
    ("tensor.cuh", include_str!("gemm_cuda/tensor.cuh")),
    ("tile.cuh", include_str!("cuda/tile.cuh")),
    ("tiles.cuh", include_str!("gemm_cuda/tiles.cuh")),
    ("wgmma.cuh", include_str!("wgmma.cuh")),
];

/// A kernel file with our headers. `file` is its path in the repository.
pub const fn source(file: &'static str, text: &'static str) -> Source {
    Source { file, text, library: LIBRARY }
}

/// Elements of a block of `lanes.cuh`.
const BLOCK: usize = 1024;

/// The grid of `each` and `each_within_rows` in `lanes.cuh`.
pub(crate) fn flat_grid(count: usize) -> Grid {
    row_grid(1, count)
}

/// The grid of `each_of_row` in `lanes.cuh`.
pub(crate) fn row_grid(rows: usize, width: usize) -> Grid {
    Grid::new(rows * width.div_ceil(BLOCK), 256)
}

/// One warp for each of `rows` rows, eight to a block.
pub(crate) fn warp_per_row(rows: usize) -> Grid {
    Grid::new(rows.div_ceil(8), 256)
}

/// A law as kernels take it: the five parameters `unsigned kind, float a, float b, float c, const int* table`.
///
/// # Errors
/// As [`CudaExec::constant`].
pub(crate) fn law_params(exec: &CudaExec, law: Law) -> Result<[Param; 5]> {
    let (kind, [a, b, c, _]) = law_words(law);
    Ok([kind.into(), a.into(), b.into(), c.into(), law_table(exec, law)?])
}

/// The table that a law reads.
///
/// # Errors
/// As [`CudaExec::constant`].
pub(crate) fn law_table(exec: &CudaExec, law: Law) -> Result<Param> {
    match law {
        Law::Normal { .. } => exec.constant(normal_table()),
        Law::Uniform { .. } | Law::TwoPoint { .. } => Ok(Param::NULL),
    }
}

/// A gradient that is wanted: its address, and whether it is added to.
pub(crate) fn grad_at(grad: Option<&Grad>) -> Result<Option<(Param, bool)>> {
    grad.map(|grad| Ok((grad.buf.address()?, grad.mode == Mode::Add))).transpose()
}

/// Weight decay as kernels take it: the two parameters `const uint2* pieces, unsigned piece_count`.
///
/// # Errors
/// As [`CudaExec::constant`].
pub(crate) fn decay_params(exec: &CudaExec, decay: &Decay) -> Result<[Param; 2]> {
    let table = decay.table();
    Ok([exec.constant(&table)?, word(table.len()).into()])
}

/// Elements of a sample that one block handles: CHUNK of `attack.cuh`.
const CHUNK: usize = 2048;

/// Blocks that handle a part of one sample each.
pub(crate) fn parts(spec: &Spec) -> usize {
    samples(spec) * per_sample_elements(spec).div_ceil(CHUNK)
}
