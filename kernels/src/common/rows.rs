//! Rows of logits: log-softmax, fixed-order sums, gradients row by row.

use engine::{Grad, Mode, Result};

use super::math::{self, Float};
use super::parallel::{blocks, for_each_block};

/// Elements that are worth handing to another thread, where each costs about an exponential.
const GRAIN: usize = 4096;
/// Accumulators of a sum.
const LANES: usize = 16;

/// Rows per parallel job.
pub(crate) fn per_job(width: usize) -> usize {
    (GRAIN / width.max(1)).max(1)
}

/// What turns logits into log-probabilities: `log p = (z - max) - log_sum`.
///
/// In f64 for every element type: rows of logits cost nothing beside the model, and the gradient `p - 1` of a confident row
/// keeps its digits. In f32 it would be 0 from p = 1 - 2^-25 on, and an attack would stand still there.
#[derive(Clone, Copy)]
pub(crate) struct LogSoftmax {
    max: f64,
    log_sum: f64,
}

impl LogSoftmax {
    /// Of one row. NaN anywhere in the row gives NaN everywhere.
    pub fn of<T: Float>(z: &[T]) -> Self {
        let max = math::max(z).to_f64();
        let log_sum = z.iter().map(|z| (z.to_f64() - max).exp()).sum::<f64>().ln();
        Self { max, log_sum }
    }

    pub fn log_p<T: Float>(self, z: T) -> f64 {
        (z.to_f64() - self.max) - self.log_sum
    }

    pub fn p<T: Float>(self, z: T) -> f64 {
        self.log_p(z).exp()
    }
}

/// p (log p - log q - shift), 0 where p is.
pub(crate) fn weighted(log_p: f64, log_q: f64, shift: f64) -> f64 {
    let p = log_p.exp();
    if p == 0.0 { 0.0 } else { p * (log_p - log_q - shift) }
}

#[inline(always)]
fn fold<T: Float>(mut lanes: [T; LANES]) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Sum of `term(x, y)` in a fixed order.
#[inline(always)]
pub(crate) fn sum_map2<T: Float>(x: &[T], y: &[T], term: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (mut xs, mut ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    for (x, y) in (&mut xs).zip(&mut ys) {
        for (lane, (&x, &y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += term(x, y);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(xs.remainder().iter().zip(ys.remainder())) {
        *lane += term(x, y);
    }
    fold(lanes)
}

/// Rows `first ..` of a matrix of `width` columns, `rows` of them.
#[inline(always)]
pub(crate) fn window<T>(x: &[T], width: usize, first: usize, rows: usize) -> &[T] {
    &x[first * width..(first + rows) * width]
}

/// Calls `work(first row, values)` for groups of rows, `values` being the result of one value per row.
pub(crate) fn for_rows<T: Float>(result: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let rows = per_job(width);
    for_each_block(blocks(result, rows), |group, values| work(group * rows, values));
}

/// Calls `work(first row, rows of the gradient, mode)` for groups of rows of a gradient of `width` columns.
///
/// # Errors
/// The gradient is not of type `T`.
pub(crate) fn for_grad_rows<T: Float>(
    grad: &mut Grad,
    width: usize,
    work: impl Fn(usize, &mut [T], Mode) + Sync,
) -> Result<()> {
    let (rows, mode) = (per_job(width), grad.mode);
    for_each_block(blocks(grad.buf.host::<T>()?, rows * width), |group, d| work(group * rows, d, mode));
    Ok(())
}
