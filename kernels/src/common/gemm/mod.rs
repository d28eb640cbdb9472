//! Matrix product with packed panels and with what surrounds it fused in: C = act(alpha A B + bias) and its gradients.
//!
//! | use | A | B | notes |
//! |---|---|---|---|
//! | y = x W^T | `Mat::rows(x, k)` | `Mat::rows(w, k).transposed()` | bias, activation, residual in the [`Epilogue`] |
//! | dx = dy W | `Mat::rows(dy, n)` | `Mat::rows(w, k)` | `factor` = the slope of the layer before, or `accumulate` |
//! | dW = dy^T x | `Mat::rows(dy, n).transposed()` | `Mat::rows(x, k)` | `a_row_sums` = db |
//!
//! Every element of C is summed in the same order whatever the number of threads: k is cut into blocks of a fixed size,
//! inside a block the products are added one by one, and k is never divided between threads.

use engine::{Error, Result};

use super::math::Float;
use crate::activation::Activation;

mod drive;
mod finish;
mod lanes;
mod pack;
mod serial;
#[cfg(test)]
mod tests;
mod tile;

pub use drive::{gemm, gemm_scratch};
pub(crate) use serial::{Serial, Target};
pub use tile::{Kernel, Panel, Tiles};

/// A matrix in a slice: element (i, j) lies at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub struct Mat<'a, T> {
    /// The elements, from element (0, 0) on.
    pub data: &'a [T],
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Rows of contiguous elements, `row_stride` apart.
    pub fn rows(data: &'a [T], row_stride: usize) -> Self {
        Self { data, row_stride, col_stride: 1 }
    }

    /// The same elements with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    fn check(&self, name: &str, rows: usize, cols: usize) -> Result<()> {
        let last = rows.saturating_sub(1) * self.row_stride + cols.saturating_sub(1) * self.col_stride;
        if rows * cols == 0 || last < self.data.len() {
            return Ok(());
        }
        Err(Error::new("gemm", format!("{name} is shorter than its shape"))
            .with("rows x columns", format!("{rows} x {cols}"))
            .with("strides", format!("{}, {}", self.row_stride, self.col_stride))
            .with("elements", self.data.len()))
    }
}

/// A writable matrix with contiguous rows.
pub struct MatMut<'a, T> {
    /// The elements, from element (0, 0) on.
    pub data: &'a mut [T],
    /// Elements from one row to the next; at least the number of columns.
    pub row_stride: usize,
}

impl<'a, T> MatMut<'a, T> {
    /// Rows of contiguous elements, `row_stride` apart.
    pub fn rows(data: &'a mut [T], row_stride: usize) -> Self {
        Self { data, row_stride }
    }

    fn check(&self, name: &str, rows: usize, cols: usize) -> Result<()> {
        if self.row_stride < cols && rows > 1 {
            return Err(Error::new("gemm", format!("rows of {name} overlap"))
                .with("columns", cols)
                .with("row stride", self.row_stride));
        }
        Mat::rows(&*self.data, self.row_stride).check(name, rows, cols)
    }
}

/// What happens to alpha A B (m x n) before it is written, in this order:
///
/// z = alpha A B + bias; z = act(z) (act'(z) stored in `derivative`); z *= col_factor; z *= factor; z += residual.
pub struct Epilogue<'a, T> {
    /// One term per column: `[n]`.
    pub bias: Option<&'a [T]>,
    /// Applied after the bias.
    pub activation: Option<Activation>,
    /// Where act'(z) goes: `[m, n]`. The backward pass then multiplies by it and evaluates no GELU'.
    pub derivative: Option<MatMut<'a, T>>,
    /// One factor per column (LayerScale): `[n]`.
    pub col_factor: Option<&'a [T]>,
    /// One factor per element: `[m, n]`, `col_stride` 1.
    pub factor: Option<Mat<'a, T>>,
    /// Added last: `[m, n]`, `col_stride` 1.
    pub residual: Option<Mat<'a, T>>,
}

impl<T> Default for Epilogue<'_, T> {
    fn default() -> Self {
        Self { bias: None, activation: None, derivative: None, col_factor: None, factor: None, residual: None }
    }
}

impl<T> Epilogue<'_, T> {
    fn is_empty(&self) -> bool {
        self.bias.is_none()
            && self.activation.is_none()
            && self.derivative.is_none()
            && self.col_factor.is_none()
            && self.factor.is_none()
            && self.residual.is_none()
    }

    fn check(&self, m: usize, n: usize) -> Result<()> {
        for (name, columns) in [("bias", self.bias), ("col_factor", self.col_factor)] {
            if let Some(columns) = columns
                && columns.len() != n
            {
                return Err(Error::new("gemm", format!("{name} needs one element per column"))
                    .with("columns", n)
                    .with("elements", columns.len()));
            }
        }
        for (name, mat) in [("factor", &self.factor), ("residual", &self.residual)] {
            if let Some(mat) = mat {
                if mat.col_stride != 1 {
                    return Err(Error::new("gemm", format!("rows of {name} must be contiguous"))
                        .with("col_stride", mat.col_stride));
                }
                mat.check(name, m, n)?;
            }
        }
        if self.derivative.is_some() && self.activation.is_none() {
            return Err(Error::new("gemm", "derivative asked for without an activation"));
        }
        self.derivative.as_ref().map_or(Ok(()), |d| d.check("derivative", m, n))
    }
}

/// One product: C = epilogue(alpha A B), C `[m, n]`, A `[m, k]`, B `[k, n]`; or added to C.
///
/// `Gemm { accumulate: true, ..Gemm::new(m, n, k, a, b, c) }`.
pub struct Gemm<'a, T> {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// Left operand, any strides.
    pub a: Mat<'a, T>,
    /// Right operand, any strides.
    pub b: Mat<'a, T>,
    /// The result.
    pub c: MatMut<'a, T>,
    /// Factor of the product.
    pub alpha: T,
    /// Adds to C instead of overwriting it. Not together with an epilogue.
    pub accumulate: bool,
    /// Where the sums over k of A go: `[m]` (db in dW = dy^T x).
    pub a_row_sums: Option<&'a mut [T]>,
    /// Adds to `a_row_sums` instead of overwriting it.
    pub accumulate_sums: bool,
    /// What happens to the product before it is written.
    pub epilogue: Epilogue<'a, T>,
}

impl<'a, T: Float> Gemm<'a, T> {
    /// C = A B.
    pub fn new(m: usize, n: usize, k: usize, a: Mat<'a, T>, b: Mat<'a, T>, c: MatMut<'a, T>) -> Self {
        Self {
            m,
            n,
            k,
            a,
            b,
            c,
            alpha: T::ONE,
            accumulate: false,
            a_row_sums: None,
            accumulate_sums: false,
            epilogue: Epilogue::default(),
        }
    }

    fn check(&self) -> Result<()> {
        self.a.check("a", self.m, self.k)?;
        self.b.check("b", self.k, self.n)?;
        self.c.check("c", self.m, self.n)?;
        if let Some(sums) = &self.a_row_sums
            && sums.len() != self.m
        {
            return Err(Error::new("gemm", "a_row_sums needs one element per row of A")
                .with("rows", self.m)
                .with("elements", sums.len()));
        }
        if self.accumulate && !self.epilogue.is_empty() {
            return Err(Error::new("gemm", "accumulate doesn't go with an epilogue")
                .help("give C as the epilogue's residual and another C to write, or drop one of the two"));
        }
        self.epilogue.check(self.m, self.n)
    }
}
