//! Blocking, packing and the distribution over threads.
//!
//! k is cut into blocks of at most 192, so that a panel of B (192 bytes wide) fills most of a 48 KiB first-level cache.
//! Some blocks at a time, as many as fit the second-level cache, the threads first pack B together and then take blocks
//! of rows of C. Only the cut of k decides how sums round, and it depends on k alone.

use engine::{Error, Result};

use super::finish::Finish;
use super::pack::{Left, Panels, Part, pack_b};
use super::tile::{Kernel, Panel};
use super::{Gemm, Mat};
use crate::common::math::Float;
use crate::common::parallel::{self, Shared};

/// Deepest block of k.
const DEPTH: usize = 192;
/// Bytes of packed B at a time.
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
        let together =
            (PACKED_BYTES / size_of::<T>()).checked_div(panels.width() * depth).unwrap_or(1).clamp(1, depths);
        let threads = threads.clamp(1, m.saturating_mul(n).saturating_mul(k) / WORTH_A_THREAD + 1);
        let rows = m.div_ceil(4 * threads).next_multiple_of(kernel.rows).clamp(2 * kernel.rows, ROWS);
        let groups = (2 * threads).div_ceil(m.div_ceil(rows).max(1)).clamp(1, panels.count().max(1));
        let groups = if threads == 1 { 1 } else { groups };
        Self { panels, depth, depths, together, rows, groups, threads }
    }

    fn packed_len(&self) -> usize {
        self.panels.width() * self.depth * self.together
    }

    fn block_len(&self) -> usize {
        self.rows * self.depth
    }

    fn len<T>(&self) -> usize {
        self.packed_len() + self.threads * self.block_len() + ALIGN / size_of::<T>()
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
    let (packed, blocks) = scratch[skip..].split_at_mut(blocking.packed_len());
    let mut work = Work::new(kernel, blocking, product);
    for first in (0..blocking.depths).step_by(blocking.together) {
        let last = (first + blocking.together).min(blocking.depths);
        work.pack(first..last, packed);
        work.multiply(first..last, packed, blocks)?;
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
}

impl<'a, T: Float> Work<'a, T> {
    fn new(kernel: &'a Kernel<T>, blocking: Blocking, product: Gemm<'a, T>) -> Self {
        let Gemm { m, k, a, b, c, alpha, accumulate, a_factor, a_row_sums, accumulate_sums, epilogue, .. } = product;
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
            left: Left { a, factor: a_factor },
            b,
            c: Shared::new(c.data),
            c_row: c.row_stride,
            alpha,
            accumulate,
            sums: a_row_sums.map(|sums| (Shared::new(sums), accumulate_sums)),
            finish,
        }
    }

    /// First row and depth of a block of k.
    fn depth(&self, block: usize) -> (usize, usize) {
        let start = block * self.blocking.depth;
        (start, self.blocking.depth.min(self.k - start))
    }

    /// Where a panel of a block of k starts in the packed buffer whose first block is `first`.
    fn packed_at(&self, first: usize, block: usize, col: usize) -> usize {
        (block - first) * self.blocking.depth * self.blocking.panels.width() + col * self.depth(block).1
    }

    /// Packs some blocks of B.
    fn pack(&mut self, depths: std::ops::Range<usize>, packed: &mut [T]) {
        let this = &*self;
        let count = this.blocking.panels.count();
        let shared = Shared::new(packed);
        let one = |i: usize| {
            let (block, span) = (depths.start + i / count, this.blocking.panels.span(i % count));
            let (start, depth) = this.depth(block);
            let at = this.packed_at(depths.start, block, span.col);
            // SAFETY: panels of blocks are disjoint and lie in the packed buffer, whose length is `packed_len`.
            let to = unsafe { std::slice::from_raw_parts_mut(shared.at(at), depth * span.vectors * this.kernel.lanes) };
            pack_b(this.kernel, &this.b, start, depth, span, to);
        };
        let tasks = count * depths.len();
        if this.blocking.threads == 1 {
            (0..tasks).for_each(one);
        } else {
            parallel::for_each(tasks, one);
        }
    }

    /// Multiplies some packed blocks of B with all of A.
    fn multiply(&mut self, depths: std::ops::Range<usize>, packed: &[T], blocks: &mut [T]) -> Result<()> {
        let this = &*self;
        let Blocking { rows, groups, threads, .. } = this.blocking;
        let tasks = this.m.div_ceil(rows) * groups;
        let one = |i: usize, buffer: &mut [T]| {
            let (row, group) = (i / groups * rows, i % groups);
            for block in depths.clone() {
                this.block_of_rows(row, group, (depths.start, block), packed, buffer);
            }
        };
        let len = this.blocking.block_len();
        if threads == 1 {
            (0..tasks).for_each(|i| one(i, blocks));
            return Ok(());
        }
        parallel::for_each_with(tasks, &mut blocks[..threads * len], len, one)
    }

    /// One block of rows against one block of k of one group of panels.
    fn block_of_rows(&self, row: usize, group: usize, block: (usize, usize), packed: &[T], buffer: &mut [T]) {
        let (first, block) = block;
        let (start, depth) = self.depth(block);
        let rows = self.blocking.rows.min(self.m - row);
        let part = Part { row, rows, col: start, cols: depth };
        if group == 0 {
            self.add_sums(part, block == 0);
        }
        let a = self.left.block(part, self.kernel.rows, buffer);
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
                b: packed[self.packed_at(first, block, span.col)..].as_ptr(),
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

    fn add_sums(&self, part: Part, first: bool) {
        let Some((sums, accumulate)) = self.sums else { return };
        // SAFETY: one element per row of A; this task alone has these rows.
        let sums = unsafe { std::slice::from_raw_parts_mut(sums.at(part.row), part.rows) };
        if first && !accumulate {
            sums.fill(T::ZERO);
        }
        self.left.add_row_sums(part, sums);
    }
}
