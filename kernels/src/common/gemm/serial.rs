//! Small products on the calling thread, with B packed apart: attention multiplies several blocks of rows with one B.

use super::Mat;
use super::pack::{Panels, pack_b};
use super::tile::{Kernel, Panel};
use crate::common::math::Float;

/// Where a product goes: rows of contiguous elements, `row_stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Target<T> {
    pub start: *mut T,
    pub row_stride: usize,
}

/// The kernels, chosen once.
pub(crate) struct Serial<T> {
    kernel: Kernel<T>,
}

impl<T: Float> Serial<T> {
    pub fn new() -> Self {
        Self { kernel: T::kernel() }
    }

    /// Columns of a packed B of `n` columns, with the zeros that fill the last register.
    pub fn padded(&self, n: usize) -> usize {
        n.next_multiple_of(self.kernel.lanes)
    }

    /// Elements of a packed B `[k, n]`.
    pub fn packed_len(&self, k: usize, n: usize) -> usize {
        k * self.padded(n)
    }

    /// Packs B `[k, n]` into `to`, which has `packed_len` elements.
    pub fn pack(&self, b: Mat<'_, T>, k: usize, n: usize, to: &mut [T]) {
        let panels = Panels::new(&self.kernel, n);
        for i in 0..panels.count() {
            let span = panels.span(i);
            pack_b(&self.kernel, &b, 0, k, span, &mut to[span.col * k..]);
        }
    }

    /// c = alpha a b, or c += alpha a b: c `[m, n]`, a `[m, k]` of any strides, b from [`pack`](Self::pack) for at least
    /// n columns up to the next full register.
    ///
    /// # Safety
    /// `a` and `packed` are as long as the sizes say; c's m rows of n elements are valid and nobody else's.
    pub unsafe fn multiply(
        &self,
        (m, n, k): (usize, usize, usize),
        alpha: T,
        a: Mat<'_, T>,
        packed: &[T],
        c: Target<T>,
        accumulate: bool,
    ) {
        debug_assert!(packed.len() >= self.packed_len(k, n));
        debug_assert!(m * k == 0 || a.data.len() > (m - 1) * a.row_stride + (k - 1) * a.col_stride);
        let panels = Panels::new(&self.kernel, n);
        for i in 0..panels.count() {
            let span = panels.span(i);
            let panel = Panel {
                rows: m,
                k,
                a: a.data.as_ptr(),
                a_row: a.row_stride,
                a_col: a.col_stride,
                a_tile: self.kernel.rows * a.row_stride,
                b: packed[span.col * k..].as_ptr(),
                vectors: span.vectors,
                cols: span.cols,
                c: c.start.wrapping_add(span.col),
                c_row: c.row_stride,
                alpha,
                read: accumulate,
                finish: None,
                at: (0, span.col),
            };
            // SAFETY: the caller's.
            unsafe { (self.kernel.multiply)(&panel) };
        }
    }
}
