//! Matrix products on CUDA: which tile, and its launches.

use bytemuck::{Pod, Zeroable};
use engine::device::cuda::{Caps, CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{DType, Error, Result};

use crate::activation::Activation;
use crate::common::cuda::source;
pub(crate) use crate::common::product::{Image, Layout, Operand};
use crate::common::product::{activation_number, image_number};

static GEMM: Source = source("kernels/src/common/gemm_cuda/gemm.cu", include_str!("gemm.cu"));
static SUMS: Source = source("kernels/src/common/gemm_cuda/sums.cu", include_str!("sums.cu"));

/// Steps of k that a part of a divided sum has at least.
const LONG: usize = 256;

/// What is done with the derivative of the activation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slope {
    /// There is none, or nobody wants it.
    None,
    /// Stored, as C.
    Store(Param),
    /// Multiplied into A, as which it lies in memory.
    Factor(Param),
}

/// `C = act(A B + bias)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    /// How tensors are stored.
    pub storage: DType,
    pub layout: Layout,
    /// Rows of C, of each batch.
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Param,
    pub b: Param,
    pub c: Param,
    /// So many products whose operands lie one behind the other.
    pub batches: usize,
    /// Add to C instead.
    pub add: bool,
    pub bias: Param,
    pub activation: Option<Activation>,
    pub slope: Slope,
    pub image: Option<Image>,
    /// Of [`Product::scratch`] bytes, if those are not 0.
    pub scratch: Param,
}

/// As `Product` in gemm.cu.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    a: Param,
    b: Param,
    bias: Param,
    slope: Param,
    c: Param,
    c_slope: Param,
    sums: Param,
    batches: [Param; 3],
    /// m, n, k, chunk; activation, add; image, across, down, side, channels; unused.
    numbers: [u32; 12],
}

/// A number as the kernel takes it.
fn word(place: &str, number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| {
        Error::new("product", "an extent exceeds 32 bits").with(place, number).help("take a smaller batch")
    })
}

impl Product {
    /// The bare product.
    pub fn new(storage: DType, layout: Layout, [m, n, k]: [usize; 3], [a, b, c]: [Param; 3]) -> Self {
        let (bias, scratch) = (Param::NULL, Param::NULL);
        let (activation, slope, image) = (None, Slope::None, None);
        Self { storage, layout, m, n, k, a, b, c, batches: 1, add: false, bias, activation, slope, image, scratch }
    }

    /// Bytes of working memory of a product of [`Layout::Tn`]: its sums in parts, where it is divided.
    pub fn scratch([m, n, k]: [usize; 3], caps: Caps) -> usize {
        match k.div_ceil(chunk([m, n, k], caps)) {
            0 | 1 => 0,
            parts => parts * m * n * size_of::<f32>(),
        }
    }

    /// Launches it.
    ///
    /// # Errors
    /// The kernel does not compile, or an extent exceeds 32 bits.
    pub fn launch(&self, exec: &mut CudaExec) -> Result<()> {
        let Self { storage, layout, m, n, k, batches, .. } = *self;
        let extents = [m, n, k];
        let chunk = if layout == Layout::Tn { chunk(extents, exec.caps()) } else { k };
        let parts = k.div_ceil(chunk.max(1));
        let divided = parts > 1;
        let tiles = side(extents, batches, exec.caps());
        let entry = match (layout, tiles) {
            (Layout::Nt, 64) => "nt64",
            (Layout::Nt, _) => "nt128",
            (Layout::Nn, 64) => "nn64",
            (Layout::Nn, _) => "nn128",
            (Layout::Tn, 64) => "tn64",
            (Layout::Tn, _) => "tn128",
        };
        let grid = Grid::new(m.div_ceil(tiles) * n.div_ceil(tiles), 256).times(if divided { parts } else { batches });
        exec.launch_with(Kernel::new(&GEMM, entry, storage), grid, &self.params(chunk, divided)?)?;
        if divided { add_up(exec, storage, [parts, m * n], self.scratch, (self.c, self.add)) } else { Ok(()) }
    }

    fn params(&self, chunk: usize, divided: bool) -> Result<Params> {
        let Self { m, n, k, .. } = *self;
        let (slope, c_slope) = match self.slope {
            Slope::None => (Param::NULL, Param::NULL),
            Slope::Store(slope) => (Param::NULL, slope),
            Slope::Factor(slope) => (slope, Param::NULL),
        };
        let [across, down, side, channels] = match self.image {
            None => [0; 4],
            Some(Image { grid: (down, across), side, channels, .. }) => [across, down, side, channels],
        };
        Ok(Params {
            a: self.a,
            b: self.b,
            bias: self.bias,
            slope,
            c: self.c,
            c_slope,
            sums: if divided { self.scratch } else { Param::NULL },
            batches: [(m * k).into(), (n * k).into(), (m * n).into()],
            numbers: [
                word("m", m)?,
                word("n", n)?,
                word("k", k)?,
                word("chunk", chunk)?,
                activation_number(self.activation),
                u32::from(self.add),
                image_number(self.image),
                word("patches", across)?,
                word("patches", down)?,
                word("patch", side)?,
                word("channels", channels)?,
                0,
            ],
        })
    }
}

/// Tiles that keep the processors busy.
fn busy(caps: Caps) -> usize {
    2 * usize::try_from(caps.processors).unwrap_or(1)
}

/// Side of a tile: 128 where there are then enough of them, else 64. Nothing is measured at run time: the same product
/// takes the same kernel, and gives the same bits, in every run on a GPU.
fn side([m, n, _]: [usize; 3], batches: usize, caps: Caps) -> usize {
    if m.div_ceil(128) * n.div_ceil(128) * batches >= busy(caps) { 128 } else { 64 }
}

/// Steps of k that are summed at a time: k, or a part of it where there are too few tiles.
fn chunk([m, n, k]: [usize; 3], caps: Caps) -> usize {
    let side = side([m, n, k], 1, caps);
    let tiles = m.div_ceil(side) * n.div_ceil(side);
    let parts = (busy(caps) / tiles.max(1)).min(k / LONG);
    if parts < 2 { k } else { k.div_ceil(parts).next_multiple_of(8) }
}

/// `sums` `[rows, width]`, in order, into a total that may be added to.
fn add_up(
    exec: &mut CudaExec,
    storage: DType,
    [rows, width]: [usize; 2],
    sums: Param,
    (total, add): (Param, bool),
) -> Result<()> {
    let params = [sums, total, rows.into(), width.into(), add.into()];
    exec.launch(Kernel::new(&SUMS, "total", storage), Grid::each(width), &params)
}

/// Sums over the rows of a matrix: the gradient of a bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnSums {
    /// How tensors are stored.
    pub storage: DType,
    pub rows: usize,
    pub width: usize,
    pub x: Param,
    /// Multiplied into x.
    pub slope: Param,
    pub sums: Param,
    /// Add to the sums.
    pub add: bool,
    /// Of [`ColumnSums::scratch`] bytes.
    pub scratch: Param,
}

impl ColumnSums {
    /// Rows that are summed at a time: about as many as there are parts.
    fn block(rows: usize) -> usize {
        rows.isqrt().next_multiple_of(64).max(64)
    }

    /// Bytes of working memory.
    pub fn scratch(rows: usize, width: usize) -> usize {
        rows.div_ceil(Self::block(rows)) * width * size_of::<f32>()
    }

    /// Launches them.
    ///
    /// # Errors
    /// The kernel does not compile.
    pub fn launch(&self, exec: &mut CudaExec) -> Result<()> {
        let Self { storage, rows, width, .. } = *self;
        let block = Self::block(rows);
        let parts = rows.div_ceil(block);
        let params = [self.x, self.slope, self.scratch, rows.into(), width.into(), block.into()];
        let grid = Grid::new(width.div_ceil(32), 256).times(parts);
        exec.launch(Kernel::new(&SUMS, "part", storage), grid, &params)?;
        add_up(exec, storage, [parts, width], self.scratch, (self.sums, self.add))
    }
}
