//! Matrix products on wgpu: which kernel, and its launches.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::ops::Range;

use engine::device::source::Source;
use engine::device::webgpu::{AdapterKind, Caps};
use engine::{Arg, Kernel, Result, WgpuExec};

use crate::activation::Activation;
use crate::common::gpu::{source, word};
pub(crate) use crate::common::product::{Image, Layout, Operand};
use crate::common::product::{activation_number, image_number};

static NARROW: Source =
    source("kernels/src/common/gemm_wgpu/gemm.narrow.subgroup.wgsl", include_str!("gemm.narrow.subgroup.wgsl"));
static WIDE: Source =
    source("kernels/src/common/gemm_wgpu/gemm.wide.subgroup.wgsl", include_str!("gemm.wide.subgroup.wgsl"));
static TILE_64: Source = source("kernels/src/common/gemm_wgpu/gemm.tile64.wgsl", include_str!("gemm.tile64.wgsl"));
static TILE_128: Source = source("kernels/src/common/gemm_wgpu/gemm.tile128.wgsl", include_str!("gemm.tile128.wgsl"));
static HALF_64: Source =
    source("kernels/src/common/gemm_wgpu/gemm.tile64.f16.wgsl", include_str!("gemm.tile64.f16.wgsl"));
static HALF_128: Source =
    source("kernels/src/common/gemm_wgpu/gemm.tile128.f16.wgsl", include_str!("gemm.tile128.f16.wgsl"));
static COLUMN_SUMS: Source = source("kernels/src/common/gemm_wgpu/column_sums.wgsl", include_str!("column_sums.wgsl"));

/// Tiles that keep the cores of a graphics card busy.
const BUSY: usize = 512;

/// Steps of k that a part of a divided sum has at least.
const LONG: usize = 256;

/// A kernel, by how it divides its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Variant {
    /// Tiles of 32 rows and so many columns, one per 8 invocations of a subgroup of `width`.
    Subgroup { columns: usize, width: usize },
    /// Square tiles of such a side, one per workgroup.
    Tiled(usize),
    /// The same with operands in f16.
    Half(usize),
}

impl Variant {
    /// The table of kernels, by adapter and size of the product. Nothing is measured at run time: the same product takes the
    /// same kernel, and gives the same bits, in every run on an adapter.
    ///
    /// | adapter | product | kernel |
    /// |---|---|---|
    /// | any with f16, where it is asked for | at least [`BUSY`] tiles of 128 x 128, or smaller | these or 64 x 64, operands in f16 |
    /// | software, subgroups of a fixed power of two from 8 to 64 | n up to 32 | 32 x 32 in registers |
    /// | the same | wider | 32 x 64 in registers |
    /// | any other | at least [`BUSY`] tiles of 128 x 128 | these |
    /// | any other | smaller | 64 x 64 |
    fn choose(caps: Caps, m: usize, n: usize) -> Self {
        let side = if m.div_ceil(128) * n.div_ceil(128) >= BUSY { 128 } else { 64 };
        let width = caps.subgroup.filter(|width| width.is_power_of_two() && (8..=64).contains(width));
        match width.and_then(|width| usize::try_from(width).ok()) {
            _ if caps.f16 => Self::Half(side),
            Some(width) if caps.kind == AdapterKind::Software => {
                Self::Subgroup { columns: if n > 32 { 64 } else { 32 }, width }
            }
            _ => Self::Tiled(side),
        }
    }

    fn kernel(self) -> Kernel {
        match self {
            Self::Subgroup { columns: 32, width } => Kernel::new(&NARROW, "main").with("WIDTH", word(width)),
            Self::Subgroup { width, .. } => Kernel::new(&WIDE, "main").with("WIDTH", word(width)),
            Self::Tiled(128) => Kernel::new(&TILE_128, "main"),
            Self::Tiled(_) => Kernel::new(&TILE_64, "main"),
            Self::Half(128) => Kernel::new(&HALF_128, "main"),
            Self::Half(_) => Kernel::new(&HALF_64, "main"),
        }
    }

    fn tiles(self, m: usize, n: usize) -> usize {
        let (rows, columns) = match self {
            Self::Subgroup { columns, .. } => (32, columns),
            Self::Tiled(side) | Self::Half(side) => (side, side),
        };
        m.div_ceil(rows) * n.div_ceil(columns)
    }

    /// Workgroups for so many tiles.
    fn groups(self, tiles: usize) -> usize {
        match self {
            Self::Subgroup { width, .. } => tiles.div_ceil(width / 8),
            Self::Tiled(_) | Self::Half(_) => tiles,
        }
    }
}

/// `C = act(A B + bias)`, times a factor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub layout: Layout,
    /// Rows of C, of each batch.
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Arg,
    pub b: Arg,
    pub c: Arg,
    /// So many products whose operands lie one behind the other, each with its own B.
    pub batches: usize,
    /// Where they begin in A and C; B begins with the first one.
    pub first: usize,
    /// Add to C instead.
    pub add: bool,
    pub bias: Option<Arg>,
    pub activation: Option<Activation>,
    /// Where the derivative of the activation goes, `[m, n]`.
    pub slope: Option<Arg>,
    /// A factor of the result, `[m, n]`; not together with a slope.
    pub times: Option<Arg>,
    pub image: Option<Image>,
    /// Of [`Product::scratch`] bytes, if those are not 0.
    pub scratch: Option<Arg>,
}

impl Product {
    /// The bare product.
    pub fn new(layout: Layout, [m, n, k]: [usize; 3], [a, b, c]: [Arg; 3]) -> Self {
        let (bias, activation, slope, image) = (None, None, None, None);
        Self {
            layout,
            m,
            n,
            k,
            a,
            b,
            c,
            batches: 1,
            first: 0,
            add: false,
            bias,
            activation,
            slope,
            times: None,
            image,
            scratch: None,
        }
    }

    /// Bytes of working memory of a product of [`Layout::Tn`]: its sums in parts, where it is divided.
    pub fn scratch([m, n, k]: [usize; 3], caps: Caps) -> usize {
        match k.div_ceil(chunk(Variant::choose(caps, m, n), [m, n, k], caps)) {
            1 => 0,
            parts => parts * m * n * size_of::<f32>(),
        }
    }

    /// Launches it. Where rows exceed the adapter's binding limit, those of A and C go part by part; for [`Layout::Tn`],
    /// whose rows are summed over, those of A and B do, and later parts add.
    ///
    /// # Errors
    /// The kernel does not compile, or a buffer that is not divided exceeds the limit.
    pub fn launch(&self, exec: &mut WgpuExec) -> Result<()> {
        self.launch_as(exec, Variant::choose(exec.caps(), self.m * self.batches, self.n))
    }

    fn launch_as(&self, exec: &mut WgpuExec, variant: Variant) -> Result<()> {
        let Self { layout, m, n, k, .. } = *self;
        let chunk = if layout == Layout::Tn { chunk(variant, [m, n, k], exec.caps()) } else { k };
        let parts = k.div_ceil(chunk);
        let slope = self.slope.or(self.times).unwrap_or(Arg::Nothing);
        let divided = self.scratch.filter(|_| parts > 1);
        let args = [self.a, self.b, divided.unwrap_or(self.c), self.bias.unwrap_or(Arg::Nothing), slope];
        // Rows per row of the launch.
        let unit = self.image.map_or(1, |image| image.grid.0 * image.grid.1);
        let rows = if layout == Layout::Tn { k } else { m * self.batches } / unit;
        let groups = |rows: usize| {
            let m = if layout == Layout::Tn { m } else { rows * unit / self.batches };
            variant.groups(variant.tiles(m, n) * parts * self.batches)
        };
        let params = |part: Range<usize>| {
            let rows = part.len() * unit;
            let (m, k, later) =
                if layout == Layout::Tn { (m, rows, part.start > 0) } else { (rows / self.batches, k, false) };
            let chunk = if parts > 1 { chunk } else { k };
            self.params([m, k, chunk], divided.is_none() && (self.add || later))
        };
        exec.launch_rows(&self.kernel(variant), rows, &args, groups, params)?;
        match divided {
            Some(sums) => add_up(exec, [parts, m * n], sums, self.c, self.add),
            None => Ok(()),
        }
    }

    fn params(&self, [m, k, chunk]: [usize; 3], add: bool) -> [u32; 16] {
        let image = self.image.map_or([0; 6], |Image { grid: (down, across), side, channels, .. }| {
            let (line, plane) = (across * side, across * side * down * side);
            [across, down, side, line, plane, channels * plane]
        });
        let [across, down, side, line, plane, image] = image.map(word);
        let [m, n, k, batches, first, chunk] = [m, self.n, k, self.batches, self.first, chunk].map(word);
        [m, n, k, batches, first, u32::from(add), across, down, side, line, plane, image, chunk, 0, 0, 0]
    }

    fn kernel(&self, variant: Variant) -> Kernel {
        // The extent along which four neighbours lie.
        let (a, b) = match self.layout {
            Layout::Nt => (self.k, self.k),
            Layout::Nn => (self.k, self.n),
            Layout::Tn => (self.m, self.n),
        };
        let fours = |operand: Operand, extent: usize| match self.image {
            Some(image) if image.operand == operand => image.side.is_multiple_of(4),
            _ => extent.is_multiple_of(4),
        };
        variant
            .kernel()
            .when("A_ACROSS", self.layout == Layout::Tn)
            .when("B_ALONG", self.layout == Layout::Nt)
            .when("A_VEC", fours(Operand::A, a))
            .when("B_VEC", fours(Operand::B, b))
            .when("C_VEC", fours(Operand::C, self.n))
            .with("IMAGE", image_number(self.image))
            .when("TIMES", self.times.is_some())
            .when("SLOPE", self.slope.is_some())
            .when("BIAS", self.bias.is_some())
            .with("ACTIVATION", activation_number(self.activation))
    }
}

/// Steps of k that are summed at a time: k, or a part of it where there are too few tiles for a graphics card.
fn chunk(variant: Variant, [m, n, k]: [usize; 3], caps: Caps) -> usize {
    let fits =
        |elements: usize| u64::try_from(elements * size_of::<f32>()).is_ok_and(|bytes| bytes <= caps.max_binding);
    let parts = (BUSY / variant.tiles(m, n).max(1)).min(k / LONG);
    // Rows that exceed the limit are divided already.
    if matches!(variant, Variant::Subgroup { .. }) || parts < 2 || !fits(m * k) || !fits(n * k) || !fits(parts * m * n)
    {
        return k;
    }
    k.div_ceil(parts).next_multiple_of(16)
}

/// `sums` of so many rows, in order, into `total`.
fn add_up(exec: &mut WgpuExec, [rows, width]: [usize; 2], sums: Arg, total: Arg, add: bool) -> Result<()> {
    let params = [word(rows), word(width), 0, 0, u32::from(add), 0, 0, 0];
    exec.launch(&Kernel::new(&COLUMN_SUMS, "total"), &params, &[sums, total], width.div_ceil(64))
}

/// Sums over the rows of a matrix: the gradient of a bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColumnSums {
    pub rows: usize,
    pub width: usize,
    pub x: Arg,
    pub sums: Arg,
    /// Add to the sums.
    pub add: bool,
    /// Of [`ColumnSums::scratch`] bytes.
    pub scratch: Arg,
}

impl ColumnSums {
    /// Rows of this width that the adapter binds at once.
    fn fit(width: usize, caps: Caps) -> usize {
        usize::try_from(caps.max_binding).unwrap_or(usize::MAX) / (width * size_of::<f32>()).max(1)
    }

    /// Rows that are summed at a time: about as many as there are blocks; fewer where the adapter's limit divides the rows,
    /// since blocks end with a part.
    fn block(rows: usize, width: usize, caps: Caps) -> usize {
        if rows <= Self::fit(width, caps) { rows.isqrt().next_multiple_of(64) } else { 64 }
    }

    /// Bytes of working memory: parts have a multiple of 64 rows, or more than half of what fits.
    pub fn scratch(rows: usize, width: usize, caps: Caps) -> usize {
        let least = Self::block(rows, width, caps).min((Self::fit(width, caps) / 2).max(1));
        rows.div_ceil(least) * width * size_of::<f32>()
    }

    /// Launches them.
    ///
    /// # Errors
    /// As [`Product::launch`].
    pub fn launch(&self, exec: &mut WgpuExec) -> Result<()> {
        let (width, vec) = (self.width, self.width.is_multiple_of(4));
        let block = Self::block(self.rows, width, exec.caps());
        let kernel = Kernel::new(&COLUMN_SUMS, "part").when("VEC", vec);
        let args = [self.x, self.scratch];
        let each = if vec { 4 } else { 1 };
        let groups = |rows: usize| (rows.div_ceil(block) * (width / each)).div_ceil(64);
        let blocks = Cell::new(0);
        let params = |part: Range<usize>| {
            let first = blocks.replace(blocks.get() + part.len().div_ceil(block));
            [word(part.len()), word(width), word(block), word(first), 0, 0, 0, 0]
        };
        exec.launch_rows(&kernel, self.rows, &args, groups, params)?;
        add_up(exec, [blocks.get(), width], self.scratch, self.sums, self.add)
    }
}
