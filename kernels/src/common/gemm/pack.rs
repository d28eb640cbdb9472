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

/// A and its factor, as far as packing goes.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T> {
    pub(super) a: Mat<'a, T>,
    pub(super) factor: Option<&'a [T]>,
}

impl<T: Float> Left<'_, T> {
    /// Whether the kernel can read A in place: rows contiguous, nothing to multiply.
    pub(super) fn in_place(&self) -> bool {
        self.factor.is_none() && self.a.col_stride == 1
    }

    fn at(&self, i: usize, p: usize) -> T {
        let offset = i * self.a.row_stride + p * self.a.col_stride;
        self.factor.map_or(self.a.data[offset], |f| self.a.data[offset] * f[offset])
    }

    /// Makes a block readable, in place or in `buffer` (rows x cols, rows rounded up to whole tiles of `tile_rows`).
    pub(super) fn block(&self, part: Part, tile_rows: usize, buffer: &mut [T]) -> Block<T> {
        let Mat { data, row_stride, col_stride } = self.a;
        if self.in_place() {
            // An empty product (k = 0) may have no element to point to.
            let start = data[(part.row * row_stride + part.col).min(data.len())..].as_ptr();
            return Block { start, row: row_stride, col: 1, tile: tile_rows * row_stride };
        }
        if let (1, Some(factor)) = (col_stride, self.factor) {
            for (i, to) in buffer[..part.rows * part.cols].chunks_exact_mut(part.cols.max(1)).enumerate() {
                let start = (part.row + i) * row_stride + part.col;
                let range = start..start + part.cols;
                for (to, (&a, &f)) in to.iter_mut().zip(data[range.clone()].iter().zip(&factor[range])) {
                    *to = a * f;
                }
            }
            return Block { start: buffer.as_ptr(), row: part.cols, col: 1, tile: tile_rows * part.cols };
        }
        self.pack(part, tile_rows, buffer);
        Block { start: buffer.as_ptr(), row: 1, col: tile_rows, tile: tile_rows * part.cols }
    }

    /// Tiles one after the other, each column by column.
    fn pack(&self, part: Part, tile_rows: usize, buffer: &mut [T]) {
        match (self.a.row_stride, tile_rows) {
            (1, 8) => self.pack_columns::<8>(part, buffer),
            (1, 4) => self.pack_columns::<4>(part, buffer),
            _ => self.pack_elements(part, tile_rows, buffer),
        }
    }

    /// Columns are contiguous: pieces of `R` elements.
    fn pack_columns<const R: usize>(&self, part: Part, buffer: &mut [T]) {
        let whole = part.rows / R;
        for p in 0..part.cols {
            let start = part.row + (part.col + p) * self.a.col_stride;
            let from = &self.a.data[start..start + part.rows];
            let factor = self.factor.map(|f| &f[start..start + part.rows]);
            for tile in 0..whole {
                let Some(to) = buffer[(tile * part.cols + p) * R..].first_chunk_mut::<R>() else { return };
                let Some(from) = from[tile * R..].first_chunk::<R>() else { return };
                *to = *from;
                if let Some(factor) = factor.and_then(|f| f[tile * R..].first_chunk::<R>()) {
                    for (to, &f) in to.iter_mut().zip(factor) {
                        *to = *to * f;
                    }
                }
            }
            for i in whole * R..part.rows {
                buffer[(whole * part.cols + p) * R + i % R] = factor.map_or(from[i], |f| from[i] * f[i]);
            }
        }
    }

    fn pack_elements(&self, part: Part, tile_rows: usize, buffer: &mut [T]) {
        for p in 0..part.cols {
            for i in 0..part.rows {
                let to = (i / tile_rows * part.cols + p) * tile_rows + i % tile_rows;
                buffer[to] = self.at(part.row + i, part.col + p);
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
                let start = row + p * self.a.col_stride;
                let whole = self.a.data.get(start..).and_then(|a| a.first_chunk::<AT_ONCE>());
                if let (1, Some(from), None, AT_ONCE) = (self.a.row_stride, whole, self.factor, sums.len()) {
                    for (partial, &a) in partial.iter_mut().zip(from) {
                        *partial += a;
                    }
                    continue;
                }
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
