//! Products by sm_90's warpgroups: which of them, how k is divided, and the maps that bulk copies need.

use engine::device::cuda::{Boxes, Caps, CudaExec, Grid, Kernel, Swizzle, TensorMap, Whole};
use engine::device::source::Source;
use engine::{DType, Result};

use super::{Layout, Operand, Params, Product};
use crate::common::cuda::source;

static HOPPER: Source = source("kernels/src/common/gemm_cuda/hopper.cu", include_str!("hopper.cu"));

/// As in the kernel: steps of k of a stage, stages, blocks of a cluster.
const DEPTH: usize = 64;
const STAGES: usize = 4;
const RANKS: usize = 2;
const THREADS: u32 = 384;

/// A tile of C that a block makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tile {
    m: usize,
    n: usize,
    /// Blocks of a cluster below each other, which share B, and side by side, which share A.
    ranks: [usize; 2],
    /// Its kernels, for Nt, Nn and Tn.
    entries: [&'static str; 3],
}

const TILES: [Tile; 2] = [
    Tile { m: 128, n: 192, ranks: [RANKS, 1], entries: ["nt_wide", "nn_wide", "tn_wide"] },
    Tile { m: 192, n: 128, ranks: [1, RANKS], entries: ["nt_tall", "nn_tall", "tn_tall"] },
];

impl Tile {
    /// Tiles of a cluster.
    fn count(&self, m: usize, n: usize) -> usize {
        m.div_ceil(self.ranks[0] * self.m) * n.div_ceil(self.ranks[1] * self.n)
    }

    fn entry(&self, layout: Layout) -> &'static str {
        let [nt, nn, tn] = self.entries;
        match layout {
            Layout::Nt => nt,
            Layout::Nn => nn,
            Layout::Tn => tn,
        }
    }
}

/// Columns of a box: 128 bytes, the swizzle's width.
const BOX: usize = 64;

/// Bytes of shared memory of a block: the stages, and 64 rows of sums.
const SHARED: usize = STAGES * (128 + 192) * DEPTH * size_of::<u16>() + 64 * (192 + 8) * size_of::<f32>();
/// That and the barriers, which the compiler places first.
const ALL_SHARED: usize = SHARED + 1024;

/// Fewer rows of C fill no tile worth the name.
const LEAST_ROWS: usize = 64;

/// Steps of k that a part of a divided sum has at least, and most parts.
const LONG: usize = 512;
const MOST_PARTS: usize = 16;

/// Steps of k that a tile's beginning and end cost about as much as.
const ENDS: usize = 64;

/// As that of tiles in `tensor.rs`, whose best is 100: mma.sync reaches about 60 % of what warpgroups do, as published.
const PRICE: usize = 60;

/// Products of two elements that a multiprocessor makes while it moves a byte: 2048 against 18 per clock. An estimate; not
/// measured.
const PER_BYTE: usize = 2048 / 18;

/// A tile, and the steps of k that are summed at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    tile: Tile,
    pub chunk: usize,
    /// Time, in the unit of `tensor.rs`.
    pub cost: usize,
}

/// Why they can't take a product that mma.sync takes; `None` where they do.
pub(super) fn refused(product: &Product, caps: Caps) -> Option<String> {
    let Product { m, n, k, image, .. } = *product;
    if m < LEAST_ROWS || n == 0 || k == 0 {
        return Some(format!("{m} x {n} x {k} is too small"));
    }
    if image.is_some_and(|image| image.operand != Operand::C) {
        return Some("bulk copies can't take patches from an image".to_owned());
    }
    let has = usize::try_from(caps.shared).unwrap_or(usize::MAX);
    (has < ALL_SHARED)
        .then(|| format!("its tiles take {ALL_SHARED} bytes of shared memory, and a block here may have {has}"))
}

/// Clusters that run at a time.
fn clusters(caps: Caps) -> usize {
    (usize::try_from(caps.processors).unwrap_or(0) / RANKS).max(1)
}

/// The tile, and the parts of k, that take least by an estimate. As in `tensor.rs`, nothing is measured at run time.
pub(super) fn way(layout: Layout, [m, n, k]: [usize; 3], batches: usize, caps: Caps) -> Way {
    let most = if layout == Layout::Tn { (k / LONG).clamp(1, MOST_PARTS) } else { 1 };
    let estimate = |tile: Tile, parts: usize| {
        let chunk = if parts == 1 { k } else { k.div_ceil(parts).next_multiple_of(DEPTH) };
        let parts = k.div_ceil(chunk.max(1));
        let waves = (tile.count(m, n) * batches * parts).div_ceil(clusters(caps));
        let product = waves * tile.m * tile.n * (chunk + ENDS);
        // Sums of parts are written and read again.
        let bytes = if parts == 1 { 0 } else { 2 * parts * m * n * size_of::<f32>() };
        Way { tile, chunk, cost: (product + bytes * PER_BYTE / (RANKS * clusters(caps))) * PRICE }
    };
    let [wide, tall] = TILES;
    let ways = (1..=most).flat_map(|parts| [estimate(wide, parts), estimate(tall, parts)]);
    ways.fold(estimate(wide, 1), |best, other| if other.cost < best.cost { other } else { best })
}

/// The map of an operand `[batches, rows, width]`, taken in boxes of `height` rows and 64 columns.
fn map(exec: &CudaExec, product: &Product, operand: Operand, height: usize) -> Result<TensorMap> {
    let Product { layout, m, n, k, batches, .. } = *product;
    let (name, start, rows, width) = match (operand, layout) {
        (Operand::A, Layout::Tn) => ("A", product.a, k, m),
        (Operand::A, _) => ("A", product.a, m, k),
        (_, Layout::Nt) => ("B", product.b, n, k),
        (..) => ("B", product.b, k, n),
    };
    let pitch = width * size_of::<u16>();
    exec.tensor_map(&Boxes {
        name,
        start,
        dtype: DType::Bf16,
        dims: &[width, rows, batches],
        strides: &[pitch, rows * pitch],
        tile: &[BOX, height, 1],
        swizzle: Swizzle::B128,
    })
}

/// Launches `product`; `times` are its batches, or parts of k.
pub(super) fn launch(exec: &mut CudaExec, product: &Product, way: Way, params: &Params, times: usize) -> Result<()> {
    let (layout, tile) = (product.layout, way.tile);
    let [below, beside] = tile.ranks;
    // Rows of a box: k, or what the operand has of the tile; half of it where two blocks share it.
    let a_rows = if layout == Layout::Tn { DEPTH } else { tile.m } / beside;
    let b_rows = if layout == Layout::Nt { tile.n } else { DEPTH } / below;
    let a = map(exec, product, Operand::A, a_rows)?;
    let b = map(exec, product, Operand::B, b_rows)?;
    let blocks = RANKS * clusters(exec.caps()).min(tile.count(product.m, product.n) * times);
    let kernel = Kernel::new(&HOPPER, tile.entry(layout), DType::Bf16);
    let grid = Grid::new(blocks, THREADS).shared(SHARED);
    exec.launch_wholes(kernel, grid, vec![Whole::of(&a), Whole::of(&b), Whole::of(params)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::product::Image;

    const H200: Caps = Caps { capability: 90, processors: 132, shared: 232_448 };

    #[test]
    fn what_is_refused_says_why() {
        let product = Product::of(DType::Bf16, Layout::Nt, [512, 768, 768]);
        assert_eq!(refused(&product, H200), None);
        let small = Caps { shared: 101_376, ..H200 };
        assert!(refused(&product, small).is_some_and(|reason| reason.contains("shared memory")));
        assert!(refused(&Product { m: 10, ..product }, H200).is_some_and(|reason| reason.contains("too small")));
        let image = |operand| Some(Image { operand, grid: (14, 14), side: 16, channels: 3 });
        let patches = Product { image: image(Operand::A), ..product };
        assert!(refused(&patches, H200).is_some_and(|reason| reason.contains("patches")));
        assert_eq!(refused(&Product { image: image(Operand::C), ..product }, H200), None);
    }

    #[test]
    fn weight_gradients_are_divided_where_tiles_are_few() {
        let rows = 256 * 197;
        assert_eq!(way(Layout::Nt, [rows, 768, 768], 1, H200).chunk, 768, "only weight gradients are divided");
        let square = way(Layout::Tn, [768, 768, rows], 1, H200);
        assert!(square.chunk < rows && square.chunk.is_multiple_of(DEPTH) && square.chunk >= LONG, "{square:?}");
        // 48 tiles for 66 clusters.
        let wide = way(Layout::Tn, [768, 3072, rows], 1, H200);
        assert!(wide.chunk < rows, "{wide:?}");
        assert_eq!(way(Layout::Tn, [768, 768, 256], 1, H200).chunk, 256);
    }

    #[test]
    fn tiles_divide_the_widths_of_common_models() {
        for (width, columns) in [(192, 192), (384, 192), (768, 192), (3072, 192), (1024, 128), (1280, 128)] {
            let tile = way(Layout::Nt, [256 * 197, width, 768], 1, H200).tile;
            assert_eq!(tile.n, columns, "{width}");
        }
    }
}
