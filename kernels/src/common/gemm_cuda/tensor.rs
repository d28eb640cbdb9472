//! Products by tensor cores: which of them, which tile, and how k is divided.

use engine::device::cuda::Caps;

use super::{Layout, Operand, Product};

/// Elements of 16 bytes: what a thread copies at once.
const VECTOR: usize = 8;

/// Steps of k of a stage, and stages: `depth` and `stages` in the kernel.
const DEPTH: usize = 32;
const STAGES: usize = 4;

/// Steps of k that a tile's beginning and end cost about as much as.
const ENDS: usize = 64;

/// Steps of k that a part of a divided sum has at least.
const LONG: usize = 256;

/// A tile of C that a block makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tile {
    pub m: usize,
    pub n: usize,
    pub threads: u32,
    /// Blocks that a multiprocessor is meant to hold at a time.
    blocks: usize,
    /// Time per product of two elements, in percent of the best tile's: operands of small ones are read more often. An
    /// estimate; not measured.
    price: usize,
    /// Its kernels, for Nt, Nn and Tn.
    entries: [&'static str; 3],
}

const TILES: [Tile; 3] = [
    Tile { m: 128, n: 192, threads: 256, blocks: 1, price: 100, entries: ["nt192", "nn192", "tn192"] },
    Tile { m: 128, n: 128, threads: 256, blocks: 2, price: 105, entries: ["nt128", "nn128", "tn128"] },
    Tile { m: 64, n: 64, threads: 128, blocks: 4, price: 170, entries: ["nt64", "nn64", "tn64"] },
];

impl Tile {
    /// Name of its kernel.
    pub fn entry(&self, layout: Layout) -> &'static str {
        let [nt, nn, tn] = self.entries;
        match layout {
            Layout::Nt => nt,
            Layout::Nn => nn,
            Layout::Tn => tn,
        }
    }

    /// Bytes of shared memory of a block.
    pub fn shared(&self) -> usize {
        STAGES * DEPTH * (self.m + self.n) * size_of::<u16>()
    }
}

/// A tile, and the steps of k that are summed at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    pub tile: Tile,
    pub chunk: usize,
    /// Time, in products of two elements that a multiprocessor makes by the best tile, times 100.
    pub cost: usize,
}

/// Why tensor cores can't take a product; `None` where they do.
pub(super) fn refused(product: &Product, caps: Caps) -> Option<String> {
    let Product { layout, m, n, k, .. } = *product;
    // What lies side by side in memory, of A and of B.
    let (a, b) = match layout {
        Layout::Nt => (("k", k), ("k", k)),
        Layout::Nn => (("k", k), ("n", n)),
        Layout::Tn => (("m", m), ("n", n)),
    };
    let image = product.image;
    if let Some(side) = image.filter(|image| image.operand != Operand::C && image.side % 4 != 0).map(|image| image.side)
    {
        return Some(format!("patches of {side} x {side} are not made of runs of 4"));
    }
    let rows = [(Operand::A, a), (Operand::B, b)]
        .into_iter()
        .find(|(operand, (_, extent))| image.is_none_or(|image| image.operand != *operand) && extent % VECTOR != 0);
    if let Some((operand, (name, extent))) = rows {
        return Some(format!(
            "rows of {operand:?} have {name} = {extent} elements, which is not a multiple of {VECTOR}"
        ));
    }
    let needed = TILES.iter().map(Tile::shared).max().unwrap_or(0);
    let has = usize::try_from(caps.shared).unwrap_or(usize::MAX);
    (has < needed).then(|| format!("its tiles take {needed} bytes of shared memory, and a block here may have {has}"))
}

/// The tile that takes least by an estimate, and parts of k where there are too few tiles. Nothing is measured at run time:
/// the same product takes the same kernel, and gives the same bits, in every run on a GPU.
pub(super) fn way(layout: Layout, [m, n, k]: [usize; 3], batches: usize, caps: Caps) -> Way {
    let processors = usize::try_from(caps.processors).unwrap_or(1).max(1);
    let estimate = |tile: Tile| {
        let slots = processors * tile.blocks;
        let tiles = (m.div_ceil(tile.m) * n.div_ceil(tile.n) * batches).max(1);
        let parts = if layout == Layout::Tn { (slots / tiles).min(k / LONG).max(1) } else { 1 };
        let chunk = k.div_ceil(parts).next_multiple_of(DEPTH);
        let blocks = tiles * k.div_ceil(chunk.max(1));
        // Blocks share a multiprocessor only where there are more of them than multiprocessors.
        let sharing = tile.blocks.min(blocks.div_ceil(processors));
        let cost = (blocks.div_ceil(slots) * sharing * tile.m * tile.n).saturating_mul((chunk + ENDS) * tile.price);
        Way { tile, chunk: if parts == 1 { k } else { chunk }, cost }
    };
    let [first, rest @ ..] = TILES.map(estimate);
    rest.into_iter().fold(first, |best, other| if other.cost < best.cost { other } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A100: Caps = Caps { capability: 80, processors: 108, shared: 166_912 };

    #[test]
    fn vit_b_takes_tiles_of_its_width_and_divides_weight_gradients() {
        let rows = 256 * 197;
        let forward = way(Layout::Nt, [rows, 768, 768], 1, A100);
        assert_eq!((forward.tile.n, forward.chunk), (192, 768));
        // 96 tiles of 128 x 192 for 108 multiprocessors: k stays whole; half as many are divided.
        let wide = way(Layout::Tn, [768, 3072, rows], 1, A100);
        let square = way(Layout::Tn, [768, 768, rows], 1, A100);
        assert!(square.chunk < rows, "24 tiles leave most of the GPU idle");
        assert!(square.chunk.is_multiple_of(DEPTH) && wide.chunk >= LONG);
    }

    #[test]
    fn small_products_take_small_tiles() {
        assert_eq!(way(Layout::Nt, [65, 192, 192], 1, A100).tile.m, 64);
    }

    #[test]
    fn a_tile_fits_what_the_smallest_gpu_gives() {
        // 99 KiB on GPUs of compute capability 8.6 and 8.9; sums pass through the same memory, 64 rows of floats at a time.
        for tile in TILES {
            assert!(tile.shared() <= 99 * 1024, "{tile:?}");
            assert!(64 * (tile.n + 8) * size_of::<f32>() <= tile.shared(), "{tile:?}");
        }
    }
}
