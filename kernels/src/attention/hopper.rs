//! Launches on sm_90a: bulk copies and products of warpgroups; tensors in bf16, heads as wide as one of [`SOURCES`], and 81 to
//! 256 tokens (208 in backward). Fewer tokens leave a warpgroup's 64 rows half empty; more do not fit.

use engine::device::cuda::{Boxes, CudaExec, Grid, Kernel, Param, Swizzle, TensorMap, Whole};
use engine::device::source::Source;
use engine::{DType, Result};

use super::Dims;
use super::cuda::Params;
use super::sources::{Files, of_width};
use crate::common::gpu::word;

/// The only compute capability with these instructions.
const CAPABILITY: u32 = 90;

/// The kernels for heads of one width.
pub(super) struct Kernels(Files);

static SOURCES: [Kernels; 2] = [Kernels(of_width!("hopper", 32, ".cu")), Kernels(of_width!("hopper", 64, ".cu"))];

/// Entries of `attention_forward90.cuh` and `attention_backward90.cuh`, and their most tokens.
const FORWARD: [(&str, usize); 3] = [("forward_10", 160), ("forward_13", 208), ("forward_16", 256)];
const BACKWARD: [(&str, usize); 2] = [("backward_10", 160), ("backward_13", 208)];

/// Below this many tokens the other kernels are as good: memory is what limits them.
const LEAST: usize = 81;

/// Rows of a product of a warpgroup.
const GROUP: usize = 64;
const THREADS: u32 = 384;

/// Bytes of an element, of a barrier.
const ELEMENT: usize = 2;
const BARRIER: usize = 8;

/// Bytes of shared memory of `forward_B`: two stages of queries, keys and values, and four barriers.
fn forward_bytes(rows: usize, width: usize) -> usize {
    2 * (rows.next_multiple_of(GROUP) + 2 * rows) * width * ELEMENT + 4 * BARRIER
}

/// Bytes of shared memory of `backward_B`: queries, keys, values, gradients; products by 64 queries; two numbers for each row of
/// two heads; eight barriers.
fn backward_bytes(rows: usize, width: usize) -> usize {
    (4 * width + rows.next_multiple_of(GROUP)) * rows * ELEMENT + 4 * rows * size_of::<f32>() + 8 * BARRIER
}

/// A launch: the kernel, its most tokens, its grid.
type Launch = (Kernel, usize, Grid);

impl Kernels {
    /// The kernels for these heads on this device, where there are any.
    pub(super) fn of(exec: &CudaExec, dims: Dims, storage: DType) -> Option<&'static Self> {
        // A block takes whole heads: few would leave most multiprocessors idle.
        let many = 2 * word(dims.b * dims.h) >= exec.caps().processors;
        let fits = exec.caps().capability == CAPABILITY && storage == DType::Bf16 && dims.n >= LEAST && many;
        SOURCES.iter().find(|kernels| fits && kernels.0.width == dims.d)
    }

    /// What to launch of `entries`: the first that takes so many tokens, if it fits into shared memory.
    fn launch(
        exec: &CudaExec,
        dims: Dims,
        source: &'static Source,
        entries: &[(&'static str, usize)],
        bytes: fn(usize, usize) -> usize,
    ) -> Option<Launch> {
        let &(entry, rows) = entries.iter().find(|(_, most)| dims.n <= *most)?;
        let (bytes, caps) = (bytes(rows, dims.d), exec.caps());
        let blocks = (dims.b * dims.h).min(usize::try_from(caps.processors).unwrap_or(1));
        let grid = Grid::new(blocks, THREADS).shared(bytes);
        (word(bytes) <= caps.shared).then_some((Kernel::new(source, entry, DType::Bf16), rows, grid))
    }

    /// The forward pass; false where there is no kernel for so many tokens.
    ///
    /// # Errors
    /// The kernel does not compile.
    pub(super) fn forward(&'static self, exec: &mut CudaExec, dims: Dims, params: Params) -> Result<bool> {
        let launch = Self::launch(exec, dims, &self.0.forward, &FORWARD, forward_bytes);
        let Some((kernel, rows, grid)) = launch else { return Ok(false) };
        let queries = heads(exec, "queries", params.qkv, dims, 3, GROUP)?;
        let keys = heads(exec, "keys and values", params.qkv, dims, 3, rows)?;
        let params = vec![Whole::of(&params.of_heads(1)), Whole::of(&queries), Whole::of(&keys)];
        exec.launch_wholes(kernel, grid, params)?;
        Ok(true)
    }

    /// The backward pass, as [`Kernels::forward`].
    ///
    /// # Errors
    /// The kernel does not compile.
    pub(super) fn backward(&'static self, exec: &mut CudaExec, dims: Dims, params: Params) -> Result<bool> {
        let launch = Self::launch(exec, dims, &self.0.backward, &BACKWARD, backward_bytes);
        let Some((kernel, rows, grid)) = launch else { return Ok(false) };
        let qkv = heads(exec, "queries, keys and values", params.qkv, dims, 3, rows)?;
        let d_out = heads(exec, "the gradient of attention's output", params.d_out, dims, 1, rows)?;
        let params = vec![Whole::of(&params.of_heads(1)), Whole::of(&qkv), Whole::of(&d_out)];
        exec.launch_wholes(kernel, grid, params)?;
        Ok(true)
    }
}

/// Boxes of `rows` tokens of one head of `tensor` [b, n, parts h, d].
fn heads(exec: &CudaExec, name: &str, tensor: Param, dims: Dims, parts: usize, rows: usize) -> Result<TensorMap> {
    let Dims { b, n, h, d } = dims;
    let (head, token) = (d * ELEMENT, parts * h * d * ELEMENT);
    exec.tensor_map(&Boxes {
        name,
        start: tensor,
        dtype: DType::Bf16,
        dims: &[d, n, parts * h, b],
        strides: &[token, head, n * token],
        tile: &[d, rows, 1, 1],
        swizzle: if head == 64 { Swizzle::B64 } else { Swizzle::B128 },
    })
}
