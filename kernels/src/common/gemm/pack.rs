//! Panels of B, and blocks of A where the kernel can't read A as it lies.

use super::Mat;
use super::tile::Kernel;
use crate::common::math::Float;

/// How the columns of B are cut into panels: full ones, and at the end two middling ones rather than one narrow one,
/// whose few accumulators would wait for each other.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    n: usize,
    lanes: usize,
    widest: usize,
    registers: usize,
}

/// One panel: its columns, and its place among the registers across B.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) col: usize,
    pub(super) cols: usize,
    pub(super) vectors: usize,
}

impl Panels {
    pub(super) fn new<T>(kernel: &Kernel<T>, n: usize) -> Self {
        Self { n, lanes: kernel.lanes, widest: kernel.vectors, registers: n.div_ceil(kernel.lanes) }
    }

    pub(super) fn count(&self) -> usize {
        self.registers.div_ceil(self.widest)
    }

    /// Elements across all panels, padding included.
    pub(super) fn width(&self) -> usize {
        self.registers * self.lanes
    }

    pub(super) fn span(&self, i: usize) -> Span {
        let last = self.count() - 1;
        let split = self.widest == 3 && self.registers % 3 == 1 && last > 0;
        let (first, vectors) = match (split, last - i.min(last)) {
            (true, 0) => (3 * last - 1, 2),
            (true, 1) => (3 * (last - 1), 2),
            _ => (i * self.widest, self.widest.min(self.registers - i * self.widest)),
        };
        let col = first * self.lanes;
        Span { col, cols: (vectors * self.lanes).min(self.n - col), vectors }
    }
}

/// Packs rows `from..from + k` of one panel of B into `to` (k x vectors * lanes), with zeros beyond its columns.
pub(super) fn pack_b<T: Float>(kernel: &Kernel<T>, b: &Mat<'_, T>, from: usize, k: usize, span: Span, to: &mut [T]) {
    let width = span.vectors * kernel.lanes;
    if b.col_stride == 1 {
        for (p, to) in to[..k * width].chunks_exact_mut(width).enumerate() {
            let start = (from + p) * b.row_stride + span.col;
            let (filled, padding) = to.split_at_mut(span.cols);
            filled.copy_from_slice(&b.data[start..start + span.cols]);
            padding.fill(T::ZERO);
        }
        return;
    }
    let lanes = kernel.lanes;
    let blocks = if b.row_stride == 1 { (k / lanes * lanes, span.cols / lanes * lanes) } else { (0, 0) };
    for j in (0..blocks.1).step_by(lanes) {
        for p in (0..blocks.0).step_by(lanes) {
            let start = from + p + (span.col + j) * b.col_stride;
            let block = &b.data[start..start + (lanes - 1) * b.col_stride + lanes];
            let to = &mut to[p * width + j..(p + lanes - 1) * width + j + lanes];
            // SAFETY: the two slices are the blocks with their row strides; the kernel is one that the machine runs.
            unsafe { (kernel.transpose)(block.as_ptr(), b.col_stride, to.as_mut_ptr(), width) };
        }
    }
    for (p, to) in to[..k * width].chunks_exact_mut(width).enumerate() {
        let done = if p < blocks.0 { blocks.1 } else { 0 };
        let (filled, padding) = to.split_at_mut(span.cols);
        for (j, to) in filled.iter_mut().enumerate().skip(done) {
            *to = b.data[(from + p) * b.row_stride + (span.col + j) * b.col_stride];
        }
        padding.fill(T::ZERO);
    }
}

/// A block of A as the kernel reads it.
pub(super) struct Block<T> {
    pub(super) start: *const T,
    pub(super) row: usize,
    pub(super) col: usize,
    pub(super) tile: usize,
}

/// Rows and columns of a block.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) col: usize,
    pub(super) cols: usize,
}

/// Where packed tiles of A go: tile after tile, `depth` columns of `rows` elements each.
#[derive(Clone, Copy)]
pub(super) struct Tiled<T> {
    pub(super) start: *mut T,
    pub(super) rows: usize,
    pub(super) depth: usize,
}

impl<T> Tiled<T> {
    /// Where the kernel finds the tile that starts at `row`, a multiple of the tiles' rows.
    pub(super) fn block(&self, row: usize) -> Block<T> {
        let start = self.start.wrapping_add(row * self.depth).cast_const();
        Block { start, row: 1, col: self.rows, tile: self.rows * self.depth }
    }
}

/// A, as far as packing goes.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T> {
    pub(super) a: Mat<'a, T>,
}

impl<T: Float> Left<'_, T> {
    /// Whether the kernel can read A in place: rows contiguous.
    pub(super) fn in_place(&self) -> bool {
        self.a.col_stride == 1
    }

    fn at(&self, i: usize, p: usize) -> T {
        self.a.data[i * self.a.row_stride + p * self.a.col_stride]
    }

    /// Makes a block readable, in place or in `buffer` (rows x cols, rows rounded up to whole tiles of `tile_rows`).
    pub(super) fn block(&self, part: Part, tile_rows: usize, buffer: &mut [T]) -> Block<T> {
        let Mat { data, row_stride, .. } = self.a;
        if self.in_place() {
            // An empty product (k = 0) may have no element to point to.
            let start = data[(part.row * row_stride + part.col).min(data.len())..].as_ptr();
            return Block { start, row: row_stride, col: 1, tile: tile_rows * row_stride };
        }
        let buffer = &mut buffer[..part.rows.next_multiple_of(tile_rows) * part.cols];
        let tiled = Tiled { start: buffer.as_mut_ptr(), rows: tile_rows, depth: part.cols };
        // SAFETY: the buffer has room for the block's tiles.
        unsafe { self.pack(part, tiled, 0) };
        tiled.block(0)
    }

    /// Packs a part into the columns of `to` from `first` on.
    ///
    /// # Safety
    /// The tiles that the part's rows fill, from column `first` on, are writable and nobody else's.
    pub(super) unsafe fn pack(&self, part: Part, to: Tiled<T>, first: usize) {
        // SAFETY: the caller's.
        unsafe {
            match (self.a.row_stride, to.rows) {
                (1, 8) => self.pack_columns::<8>(part, to, first),
                (1, 4) => self.pack_columns::<4>(part, to, first),
                _ => self.pack_elements(part, to, first),
            }
        }
    }

    /// Columns are contiguous: pieces of `R` elements.
    ///
    /// # Safety
    /// As [`pack`](Self::pack).
    unsafe fn pack_columns<const R: usize>(&self, part: Part, to: Tiled<T>, first: usize) {
        for p in 0..part.cols {
            let start = part.row + (part.col + p) * self.a.col_stride;
            let (whole, rest) = self.a.data[start..start + part.rows].as_chunks::<R>();
            let target = |tile: usize| to.start.wrapping_add((tile * to.depth + first + p) * R);
            for (tile, from) in whole.iter().enumerate() {
                // SAFETY: the tile's column is the caller's to write.
                unsafe { target(tile).cast::<[T; R]>().write(*from) };
            }
            for (i, &a) in rest.iter().enumerate() {
                // SAFETY: as above.
                unsafe { target(whole.len()).add(i).write(a) };
            }
        }
    }

    /// # Safety
    /// As [`pack`](Self::pack).
    unsafe fn pack_elements(&self, part: Part, to: Tiled<T>, first: usize) {
        for p in 0..part.cols {
            for i in 0..part.rows {
                let at = (i / to.rows * to.depth + first + p) * to.rows + i % to.rows;
                // SAFETY: the element lies in a tile that is the caller's to write.
                unsafe { to.start.add(at).write(self.at(part.row + i, part.col + p)) };
            }
        }
    }

    /// Adds the sums over a block's columns to `sums`, one per row; each block's sum is made first, column by column.
    pub(super) fn add_row_sums(&self, part: Part, sums: &mut [T]) {
        const AT_ONCE: usize = 32;
        for (group, sums) in sums.chunks_mut(AT_ONCE).enumerate() {
            let row = part.row + group * AT_ONCE;
            let mut partial = [T::ZERO; AT_ONCE];
            for p in part.col..part.col + part.cols {
                for (i, partial) in partial[..sums.len()].iter_mut().enumerate() {
                    *partial += self.at(row + i, p);
                }
            }
            for (sum, &partial) in sums.iter_mut().zip(&partial) {
                *sum += partial;
            }
        }
    }
}

/// As [`Left::add_row_sums`], in the same order, from packed tiles.
///
/// # Safety
/// The block's tiles, `depth` columns deep, are readable.
pub(super) unsafe fn add_tile_sums<T: Float, const R: usize>(block: &Block<T>, depth: usize, sums: &mut [T]) {
    for (tile, sums) in sums.chunks_mut(R).enumerate() {
        let mut partial = [T::ZERO; R];
        for p in 0..depth {
            // SAFETY: a column of a tile of the block.
            let column = unsafe { block.start.add(tile * block.tile + p * R).cast::<[T; R]>().read() };
            for (partial, a) in partial.iter_mut().zip(column) {
                *partial += a;
            }
        }
        for (sum, &partial) in sums.iter_mut().zip(&partial) {
            *sum += partial;
        }
    }
}
