//! Blocking, packing and the distribution over threads.
//!
//! k is cut into blocks of at most 192, so that a panel of B (192 bytes wide) fills most of a 48 KiB first-level cache.
//! Some blocks at a time, as many as fit the second-level cache, the threads first pack B together and then take blocks
//! of rows of C. Where k is the longest side (a weight's gradient), A is packed with B, so that both are read in the order
//! in which they lie; otherwise each block of rows is packed by its thread, if it must be packed at all.
//! Only the cut of k decides how sums round, and it depends on k alone.

use engine::{Error, Result};

use super::finish::Finish;
use super::pack::{Block, Left, Panels, Part, Tiled, add_tile_sums, pack_b};
use super::tile::{Kernel, Panel};
use super::{Gemm, Mat};
use crate::common::math::Float;
use crate::common::parallel::{self, Shared};

/// Deepest block of k.
const DEPTH: usize = 192;
/// Rows of k that one task packs.
const PIECE: usize = 48;
/// Bytes packed at a time.
const PACKED_BYTES: usize = 2 << 20;
/// Most rows of a block of A.
const ROWS: usize = 64;
/// Multiply-adds that are worth a thread.
const WORTH_A_THREAD: usize = 1 << 19;
/// Bytes to which scratch is aligned.
const ALIGN: usize = 64;

/// How a product is cut up.
#[derive(Clone, Copy)]
struct Blocking {
    panels: Panels,
    /// Depth of each block of k but the last.
    depth: usize,
    /// Blocks of k.
    depths: usize,
    /// Blocks of k that are packed together.
    together: usize,
    /// Elements of a block of k of A packed together with B; 0 if it isn't.
    left: usize,
    /// Rows of a block of A.
    rows: usize,
    /// Groups of panels that are separate work.
    groups: usize,
    threads: usize,
}

impl Blocking {
    fn new<T: Float>(kernel: &Kernel<T>, m: usize, n: usize, k: usize, threads: usize) -> Self {
        let panels = Panels::new(kernel, n);
        let depths = k.div_ceil(DEPTH).max(1);
        let depth = k.div_ceil(depths);
        let left = if m <= k { m.next_multiple_of(kernel.rows) * depth } else { 0 };
        let packed = panels.width() * depth + left;
        let together = (PACKED_BYTES / size_of::<T>()).checked_div(packed).unwrap_or(1).clamp(1, depths);
        let threads = threads.clamp(1, m.saturating_mul(n).saturating_mul(k) / WORTH_A_THREAD + 1);
        let rows = m.div_ceil(4 * threads).next_multiple_of(kernel.rows).clamp(2 * kernel.rows, ROWS);
        let groups = (2 * threads).div_ceil(m.div_ceil(rows).max(1)).clamp(1, panels.count().max(1));
        let groups = if threads == 1 { 1 } else { groups };
        Self { panels, depth, depths, together, left, rows, groups, threads }
    }

    fn packed_len(&self) -> usize {
        self.panels.width() * self.depth * self.together
    }

    fn left_len(&self) -> usize {
        self.left * self.together
    }

    fn block_len(&self) -> usize {
        self.rows * self.depth
    }

    fn len<T>(&self) -> usize {
        self.packed_len() + self.left_len() + self.threads * self.block_len() + ALIGN / size_of::<T>()
    }
}

/// Elements of scratch that [`gemm`] needs for C `[m, n]` and inner size `k` on at most `threads` threads.
pub fn gemm_scratch<T: Float>(m: usize, n: usize, k: usize, threads: usize) -> usize {
    scratch(&T::kernel(), m, n, k, threads)
}

/// As [`gemm_scratch`], for a chosen kernel.
pub(super) fn scratch<T: Float>(kernel: &Kernel<T>, m: usize, n: usize, k: usize, threads: usize) -> usize {
    // More threads mean smaller blocks, so the need isn't monotonic.
    let lens = (1..=threads.max(1)).map(|threads| Blocking::new(kernel, m, n, k, threads).len::<T>());
    lens.max().unwrap_or(0)
}

/// Computes `product` on the current pool's threads; allocates nothing. See [`Gemm`].
///
/// # Errors
/// A slice is shorter than its shape, or `scratch` than [`gemm_scratch`] says.
pub fn gemm<T: Float>(product: Gemm<'_, T>, scratch: &mut [T]) -> Result<()> {
    product.check()?;
    run(&T::kernel(), product, scratch)
}

/// As [`gemm`], with a chosen kernel.
pub(super) fn run<T: Float>(kernel: &Kernel<T>, product: Gemm<'_, T>, scratch: &mut [T]) -> Result<()> {
    let Gemm { m, n, k, .. } = product;
    let blocking = Blocking::new(kernel, m, n, k, parallel::threads());
    if scratch.len() < blocking.len::<T>() {
        return Err(Error::new("gemm", "scratch too small")
            .with("m, n, k", format!("{m}, {n}, {k}"))
            .with("elements", scratch.len())
            .with("needed", blocking.len::<T>()));
    }
    let skip = scratch.as_ptr().align_offset(ALIGN).min(ALIGN / size_of::<T>());
    let (packed, rest) = scratch[skip..].split_at_mut(blocking.packed_len());
    let (left, blocks) = rest.split_at_mut(blocking.left_len());
    let work = Work::new(kernel, blocking, product, packed, left);
    for first in (0..blocking.depths).step_by(blocking.together) {
        let last = (first + blocking.together).min(blocking.depths);
        work.pack(first, last);
        work.multiply(first, last, blocks)?;
    }
    Ok(())
}

/// A product on its way.
struct Work<'a, T> {
    kernel: &'a Kernel<T>,
    blocking: Blocking,
    m: usize,
    k: usize,
    left: Left<'a, T>,
    b: Mat<'a, T>,
    c: Shared<T>,
    c_row: usize,
    alpha: T,
    accumulate: bool,
    sums: Option<(Shared<T>, bool)>,
    finish: Option<Finish<'a, T>>,
    packed: Shared<T>,
    /// Packed A, where it is packed together with B.
    packed_left: Option<Shared<T>>,
}

impl<'a, T: Float> Work<'a, T> {
    fn new(
        kernel: &'a Kernel<T>,
        blocking: Blocking,
        product: Gemm<'a, T>,
        packed: &'a mut [T],
        packed_left: &'a mut [T],
    ) -> Self {
        let Gemm { m, k, a, b, c, alpha, accumulate, a_row_sums, accumulate_sums, epilogue, .. } = product;
        let left = Left { a };
        let finish = (!epilogue.is_empty()).then(|| Finish {
            bias: epilogue.bias,
            activation: epilogue.activation,
            derivative: epilogue.derivative.map(|d| (d.data.as_mut_ptr(), d.row_stride)),
            col_factor: epilogue.col_factor,
            factor: epilogue.factor.map(|f| (f.data, f.row_stride)),
            residual: epilogue.residual.map(|r| (r.data, r.row_stride)),
        });
        Self {
            kernel,
            blocking,
            m,
            k,
            left,
            b,
            c: Shared::new(c.data),
            c_row: c.row_stride,
            alpha,
            accumulate,
            sums: a_row_sums.map(|sums| (Shared::new(sums), accumulate_sums)),
            finish,
            packed: Shared::new(packed),
            packed_left: (blocking.left > 0 && !left.in_place()).then(|| Shared::new(packed_left)),
        }
    }

    /// First row and depth of a block of k.
    fn depth(&self, block: usize) -> (usize, usize) {
        let start = block * self.blocking.depth;
        (start, self.blocking.depth.min(self.k - start))
    }

    /// Where a panel of a block of k starts, if the packed buffer starts with block `first`.
    fn panel_at(&self, first: usize, block: usize, col: usize) -> *mut T {
        let start = (block - first) * self.blocking.depth * self.blocking.panels.width();
        self.packed.at(start + col * self.depth(block).1)
    }

    /// Where A of a block of k is packed, likewise.
    fn left_at(&self, first: usize, block: usize) -> Option<Tiled<T>> {
        let left = self.packed_left?;
        let start = left.at((block - first) * self.blocking.left);
        Some(Tiled { start, rows: self.kernel.rows, depth: self.depth(block).1 })
    }

    /// Packs the blocks `first..last` of k.
    fn pack(&self, first: usize, last: usize) {
        let pieces = self.blocking.depth.div_ceil(PIECE);
        let one = |i: usize| self.pack_piece(first, first + i / pieces, i % pieces * PIECE);
        let tasks = pieces * (last - first);
        if self.blocking.threads == 1 {
            (0..tasks).for_each(one);
        } else {
            parallel::for_each(tasks, one);
        }
    }

    /// Packs rows `from..from + PIECE` of a block of k.
    fn pack_piece(&self, first: usize, block: usize, from: usize) {
        let (start, depth) = self.depth(block);
        if from >= depth {
            return;
        }
        let rows = PIECE.min(depth - from);
        for i in 0..self.blocking.panels.count() {
            let span = self.blocking.panels.span(i);
            let width = span.vectors * self.kernel.lanes;
            let at = self.panel_at(first, block, span.col).wrapping_add(from * width);
            // SAFETY: panels, and pieces of a panel, are disjoint and lie in the packed buffer of `packed_len` elements.
            let to = unsafe { std::slice::from_raw_parts_mut(at, rows * width) };
            pack_b(self.kernel, &self.b, start + from, rows, span, to);
        }
        if let Some(left) = self.left_at(first, block) {
            let part = Part { row: 0, rows: self.m, col: start + from, cols: rows };
            // SAFETY: pieces are disjoint columns of the tiles, which lie in the buffer of `left_len` elements.
            unsafe { self.left.pack(part, left, from) };
        }
    }

    /// Multiplies the packed blocks `first..last` of k.
    fn multiply(&self, first: usize, last: usize, blocks: &mut [T]) -> Result<()> {
        let Blocking { rows, groups, threads, .. } = self.blocking;
        let tasks = self.m.div_ceil(rows) * groups;
        let one = |i: usize, buffer: &mut [T]| {
            for block in first..last {
                self.block_of_rows(i / groups * rows, i % groups, first, block, buffer);
            }
        };
        let len = self.blocking.block_len();
        if threads == 1 {
            (0..tasks).for_each(|i| one(i, blocks));
            return Ok(());
        }
        parallel::for_each_with(tasks, &mut blocks[..threads * len], len, one)
    }

    /// One block of rows against one block of k of one group of panels.
    fn block_of_rows(&self, row: usize, group: usize, first: usize, block: usize, buffer: &mut [T]) {
        let (start, depth) = self.depth(block);
        let rows = self.blocking.rows.min(self.m - row);
        let part = Part { row, rows, col: start, cols: depth };
        let tiled = self.left_at(first, block).map(|left| left.block(row));
        if group == 0 {
            self.add_sums(part, block == 0, tiled.as_ref());
        }
        let a = tiled.unwrap_or_else(|| self.left.block(part, self.kernel.rows, buffer));
        let count = self.blocking.panels.count();
        let groups = self.blocking.groups;
        for i in count * group / groups..count * (group + 1) / groups {
            let span = self.blocking.panels.span(i);
            let panel = Panel {
                rows,
                k: depth,
                a: a.start,
                a_row: a.row,
                a_col: a.col,
                a_tile: a.tile,
                b: self.panel_at(first, block, span.col),
                vectors: span.vectors,
                cols: span.cols,
                c: self.c.at(row * self.c_row + span.col),
                c_row: self.c_row,
                alpha: self.alpha,
                read: self.accumulate || block > 0,
                finish: self.finish.as_ref().filter(|_| block + 1 == self.blocking.depths),
                at: (row, span.col),
            };
            // SAFETY: `Gemm::check` found A, B and C long enough; this task alone writes these rows and columns of C.
            unsafe { (self.kernel.multiply)(&panel) };
        }
    }

    fn add_sums(&self, part: Part, first: bool, tiled: Option<&Block<T>>) {
        let Some((sums, accumulate)) = self.sums else { return };
        // SAFETY: one element per row of A; this task alone has these rows.
        let sums = unsafe { std::slice::from_raw_parts_mut(sums.at(part.row), part.rows) };
        if first && !accumulate {
            sums.fill(T::ZERO);
        }
        match (tiled, self.kernel.rows) {
            // SAFETY: the block's tiles are packed, part.cols deep.
            (Some(block), 8) => unsafe { add_tile_sums::<T, 8>(block, part.cols, sums) },
            // SAFETY: as above.
            (Some(block), 4) => unsafe { add_tile_sums::<T, 4>(block, part.cols, sums) },
            _ => self.left.add_row_sums(part, sums),
        }
    }
}
