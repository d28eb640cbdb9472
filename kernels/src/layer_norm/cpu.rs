//! Fast loops: a block of rows per task, each row read from memory once and worked on in the nearest cache.

use engine::{Backward, Buf, Forward, Grad, Mode, Result};

use super::rows_per_sum;
use crate::common::grad::{put, put_zeros};
use crate::common::math::{self, Float};
use crate::common::parallel::{blocks, for_each_block, for_each_block_with, rows_per_block};
use crate::common::simd::simd;

simd! {
    /// Rows of y, and mean and rstd of each.
    fn forward_rows<T: Float>(x: &[T], weight: &[T], bias: &[T], eps: T, y: &mut [T], mean: &mut [T], rstd: &mut [T]) {
        let width = weight.len();
        let count = T::from_usize(width);
        let statistics = mean.iter_mut().zip(rstd);
        for ((x, y), (mean, rstd)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(statistics) {
            let row_mean = math::sum(x) / count;
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x - row_mean;
            }
            let row_rstd = T::ONE / (math::dot(y, y) / count + eps).sqrt();
            for (y, (&weight, &bias)) in y.iter_mut().zip(weight.iter().zip(bias)) {
                *y = (*y * row_rstd).mul_add(weight, bias);
            }
            (*mean, *rstd) = (row_mean, row_rstd);
        }
    }

    /// Adds one row to the sums for weight and bias.
    fn add_to_sums<T: Float>(dy: &[T], xhat: &[T], d_weight: &mut [T], d_bias: &mut [T]) {
        for ((&dy, &xhat), (d_weight, d_bias)) in dy.iter().zip(xhat).zip(d_weight.iter_mut().zip(d_bias)) {
            *d_weight = dy.mul_add(xhat, *d_weight);
            *d_bias += dy;
        }
    }

    fn normalised<T: Float>(x: &[T], mean: T, rstd: T, xhat: &mut [T]) {
        for (xhat, &x) in xhat.iter_mut().zip(x) {
            *xhat = (x - mean) * rstd;
        }
    }

    /// One row of dx; `g` is working memory.
    fn dx_row<T: Float>(dy: &[T], weight: &[T], xhat: &[T], rstd: T, g: &mut [T], mode: Mode, dx: &mut [T]) {
        let count = T::from_usize(weight.len());
        for (g, (&dy, &weight)) in g.iter_mut().zip(dy.iter().zip(weight)) {
            *g = dy * weight;
        }
        let mean_g = math::sum(g) / count;
        let mean_gx = math::dot(g, xhat) / count;
        for ((&g, &xhat), dx) in g.iter().zip(xhat).zip(dx) {
            put(mode, dx, rstd * (g - xhat.mul_add(mean_gx, mean_g)));
        }
    }
}

pub(super) fn forward<T: Float>(eps: f32, mut io: Forward) -> Result<()> {
    let [x, weight, bias] = [io.inputs[0].host()?, io.inputs[1].host()?, io.inputs[2].host()?];
    let eps = T::from_f32(eps);
    let width = weight.len();
    let group = rows_per_block(width);
    let y = blocks(io.output.host::<T>()?, group * width);
    let x_of = |block: usize, y: &[T]| &x[block * group * width..][..y.len()];
    if let [mean, rstd] = io.extras {
        let statistics = (blocks(mean.host::<T>()?, group), blocks(rstd.host::<T>()?, group));
        for_each_block((y, statistics.0, statistics.1), |block, (y, mean, rstd)| {
            forward_rows(x_of(block, y), weight, bias, eps, y, mean, rstd);
        });
    } else {
        for_each_block(y, |block, y| {
            let x = x_of(block, y);
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                forward_rows(x, weight, bias, eps, y, &mut [T::ZERO], &mut [T::ZERO]);
            }
        });
    }
    Ok(())
}

/// What every row of a backward pass reads. Empty where the launch's gradients need it not.
struct Rows<'a, T> {
    x: &'a [T],
    weight: &'a [T],
    mean: &'a [T],
    rstd: &'a [T],
    dy: &'a [T],
    width: usize,
}

impl<T: Float> Rows<'_, T> {
    /// Rows `first .. first + count`: dx, or the sums `[dweight, dbias]` of these rows, or both.
    fn block(
        &self,
        rows: std::ops::Range<usize>,
        mut dx: Option<(Mode, &mut [T])>,
        sums: Option<&mut [T]>,
        work: &mut [T],
    ) {
        let width = self.width;
        let first = rows.start;
        let (xhat, g) = work.split_at_mut(width);
        let mut sums = sums.map(|sums| {
            sums.fill(T::ZERO);
            sums.split_at_mut(width)
        });
        for row in rows {
            let dy = &self.dy[row * width..][..width];
            if self.rstd.is_empty() {
                xhat.fill(T::ZERO); // only dbias is wanted
            } else {
                normalised(&self.x[row * width..][..width], self.mean[row], self.rstd[row], xhat);
            }
            if let Some((d_weight, d_bias)) = &mut sums {
                add_to_sums(dy, xhat, d_weight, d_bias);
            }
            if let Some((mode, dx)) = &mut dx {
                let dx = &mut dx[(row - first) * width..][..width];
                dx_row(dy, self.weight, xhat, self.rstd[row], g, *mode, dx);
            }
        }
    }
}

/// The elements of what the launch keeps; none of what it doesn't.
fn kept<'a, T: Float>(buf: Option<&Buf<'a>>) -> Result<&'a [T]> {
    buf.filter(|buf| buf.is_kept()).map_or(Ok(&[]), Buf::host)
}

pub(super) fn backward<T: Float>(mut io: Backward) -> Result<()> {
    let [d_x, d_weight, d_bias] = io.d_inputs else { return Ok(()) };
    let spec = io.d_output.spec();
    let (width, total) = (spec.shape.last(), spec.shape.rows());
    let rows = Rows {
        x: kept(io.inputs.first())?,
        weight: kept(io.inputs.get(1))?,
        mean: kept(io.extras.first())?,
        rstd: kept(io.extras.get(1))?,
        dy: io.d_output.host()?,
        width,
    };
    let group = rows_per_sum(total);
    let range = |block: usize| block * group..total.min((block + 1) * group);
    let summed = d_weight.is_some() || d_bias.is_some();
    let count = if summed { total.div_ceil(group) } else { 0 };
    let (sums, work) = io.scratch.scratch::<T>().split_at_mut(count * 2 * width);
    let per_sum = 2 * width;
    match d_x {
        Some(Grad { mode, buf, .. }) if summed => {
            let parts = (blocks(buf.host::<T>()?, group * width), blocks(sums, per_sum));
            for_each_block_with(parts, work, per_sum, |block, (dx, sums), work| {
                rows.block(range(block), Some((*mode, dx)), Some(sums), work);
            })?;
        }
        Some(Grad { mode, buf, .. }) => {
            for_each_block_with(blocks(buf.host::<T>()?, group * width), work, per_sum, |block, dx, work| {
                rows.block(range(block), Some((*mode, dx)), None, work);
            })?;
        }
        None => for_each_block_with(blocks(sums, per_sum), work, per_sum, |block, sums, work| {
            rows.block(range(block), None, Some(sums), work);
        })?,
    }
    add_up(io.scratch.scratch::<T>(), count, 0, width, d_weight.as_mut())?;
    add_up(io.scratch.scratch::<T>(), count, 1, width, d_bias.as_mut())
}

/// Adds the `count` partial sums in their order; `which` is 0 for the weight and 1 for the bias.
fn add_up<T: Float>(sums: &[T], count: usize, which: usize, width: usize, grad: Option<&mut Grad>) -> Result<()> {
    let Some(Grad { mode, buf, .. }) = grad else { return Ok(()) };
    let total = buf.host::<T>()?;
    put_zeros(*mode, total);
    for sums in sums.chunks_exact(width).skip(which).step_by(2).take(count) {
        for (total, &sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    Ok(())
}
