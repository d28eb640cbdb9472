//! Launches on the tensor cores of CUDA: tensors in bf16, heads as wide as one of [`SOURCES`].

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::{DType, Result};

use super::Dims;
use super::cuda::Params;
use super::sources::{Files, of_width};
use crate::common::gpu::word;

/// The kernels for heads of one width.
pub(super) struct Kernels(Files);

static SOURCES: [Kernels; 6] = [
    Kernels(of_width!("tensor", 16, ".bf16.cu")),
    Kernels(of_width!("tensor", 32, ".bf16.cu")),
    Kernels(of_width!("tensor", 48, ".bf16.cu")),
    Kernels(of_width!("tensor", 64, ".bf16.cu")),
    Kernels(of_width!("tensor", 80, ".bf16.cu")),
    Kernels(of_width!("tensor", 96, ".bf16.cu")),
];

/// A kernel that keeps all keys of a head on chip.
struct Whole {
    entry: &'static str,
    /// Most tokens, in blocks of [`BLOCK`].
    blocks: usize,
    /// Widest heads that it is compiled for.
    widest: usize,
}

impl Whole {
    const fn new(entry: &'static str, blocks: usize, widest: usize) -> Self {
        Self { entry, blocks, widest }
    }
}

/// Rows of a product of the tensor cores.
const BLOCK: usize = 16;

/// Those of `attention_forward.cuh` and `attention_backward.cuh`, by tokens.
const FORWARD: [Whole; 5] = [
    Whole::new("forward_4", 4, 96),
    Whole::new("forward_5", 5, 96),
    Whole::new("forward_10", 10, 96),
    Whole::new("forward_13", 13, 96),
    Whole::new("forward_17", 17, 96),
];
const BACKWARD: [Whole; 4] = [
    Whole::new("backward_4", 4, 96),
    Whole::new("backward_5", 5, 96),
    Whole::new("backward_10", 10, 80),
    Whole::new("backward_13", 13, 64),
];

/// Queries or keys of a block that owns some and walks over the others, and those that it walks over at a time.
const OWN: usize = 64;
const WALKED: usize = 64;
const THREADS: u32 = 128;

/// Queries between two barriers of `backward_B`.
const CHUNK: usize = 32;

/// Bytes of an element.
const ELEMENT: usize = 2;

/// Bytes of shared memory of `forward_B`: keys and values.
fn forward_bytes(rows: usize, width: usize) -> usize {
    2 * rows * width * ELEMENT
}

/// Bytes of shared memory of `backward_B`: queries, keys, values and gradients; two chunks of products; two numbers per row.
fn backward_bytes(rows: usize, width: usize) -> usize {
    (4 * width + 2 * CHUNK) * rows * ELEMENT + 2 * rows * size_of::<f32>()
}

/// Bytes of shared memory of the other kernels: two pairs of tiles that are walked over, with two numbers for each row.
fn walked_bytes(width: usize) -> usize {
    4 * WALKED * (width * ELEMENT + size_of::<f32>())
}

/// The first of `kernels` that takes so many tokens and fits into the device's shared memory, and its bytes.
fn whole<'k>(
    kernels: &'k [Whole],
    exec: &CudaExec,
    dims: Dims,
    bytes: impl Fn(usize, usize) -> usize,
) -> Option<(&'k Whole, usize)> {
    let first = kernels.iter().find(|kernel| dims.n <= BLOCK * kernel.blocks)?;
    let bytes = bytes(BLOCK * first.blocks, dims.d);
    (dims.d <= first.widest && word(bytes) <= exec.caps().shared).then_some((first, bytes))
}

/// The kernels for such heads, where there are any; a note where bf16 goes without.
pub(super) fn kernels(exec: &mut CudaExec, dims: Dims, storage: DType) -> Option<&'static Kernels> {
    let bf16 = storage == DType::Bf16;
    let found = SOURCES.iter().find(|kernels| bf16 && kernels.0.width == dims.d);
    if bf16 && found.is_none() {
        let width = dims.d;
        exec.note(format!("attention without tensor cores: head width {width} is not one of 16, 32, 48, 64, 80, 96"));
    }
    found
}

/// A block for each 64 rows of each head.
fn grid(dims: Dims) -> Grid {
    Grid::new(dims.b * dims.h * dims.n.div_ceil(OWN), THREADS).shared(walked_bytes(dims.d))
}

impl Kernels {
    pub(super) fn forward(&'static self, exec: &mut CudaExec, dims: Dims, params: Params) -> Result<()> {
        let kernel = |entry| Kernel::new(&self.0.forward, entry, DType::Bf16);
        let Some((whole, bytes)) = whole(&FORWARD, exec, dims, forward_bytes) else {
            return exec.launch_with(kernel("forward_long"), grid(dims), &params.of_all_features());
        };
        // Twice as many blocks as multiprocessors, if there are so many queries.
        let heads = dims.b * dims.h;
        let wanted = 2 * usize::try_from(exec.caps().processors).unwrap_or(1);
        let blocks = wanted.div_ceil(heads.max(1)).clamp(1, dims.n.div_ceil(OWN).max(1));
        let params = params.of_heads(word(blocks));
        exec.launch_with(kernel(whole.entry), Grid::new(heads * blocks, THREADS).shared(bytes), &params)
    }

    pub(super) fn backward(&'static self, exec: &mut CudaExec, dims: Dims, params: Params) -> Result<()> {
        let kernel = |entry| Kernel::new(&self.0.backward, entry, DType::Bf16);
        let heads = dims.b * dims.h;
        // Where there are few heads, a block for each would leave most multiprocessors idle.
        let many = 2 * word(heads) >= exec.caps().processors;
        if let Some((whole, bytes)) = whole(&BACKWARD, exec, dims, backward_bytes).filter(|_| many) {
            let grid = Grid::new(heads, 32 * word(whole.blocks)).shared(bytes);
            return exec.launch_with(kernel(whole.entry), grid, &params.of_heads(1));
        }
        let params = params.of_all_features();
        exec.launch_with(kernel("queries_long"), grid(dims), &params)?;
        exec.launch_with(kernel("keys_long"), grid(dims), &params)
    }
}
