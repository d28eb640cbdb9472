//! A sample per task; means and logarithms in f64.

use engine::{Backward, Forward, Mode, Result};

use super::{Dims, FLOOR, LogReceived};
use crate::common::grad::put;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};

/// Mean over the heads of the first features of one query.
fn mean<T: Float>(query: &[T], Dims { h, d, .. }: Dims) -> f64 {
    query.iter().step_by(d).map(|p| p.to_f64()).sum::<f64>() / T::from_usize(h).to_f64()
}

pub(super) fn forward<T: Float>(op: &LogReceived, mut io: Forward) -> Result<()> {
    let dims = op.dims(&io.inputs[0].spec())?;
    let (x, width) = (io.inputs[0].host::<T>()?, dims.h * dims.d);
    for_each_block(blocks(io.output.host::<T>()?, 1), |sample, y| {
        let queries = x[sample * dims.n * width..][..dims.n * width].chunks_exact(width);
        let sum: f64 = queries.map(|query| mean(query, dims)).map(|a| if a < FLOOR { FLOOR } else { a }.ln()).sum();
        y[0] = T::from_f64(sum / T::from_usize(dims.n).to_f64());
    });
    Ok(())
}

pub(super) fn backward<T: Float>(op: &LogReceived, io: Backward) -> Result<()> {
    let [Some(dx)] = io.d_inputs else { return Ok(()) };
    let dims = op.dims(&io.inputs[0].spec())?;
    let (x, dy) = (io.inputs[0].host::<T>()?, io.d_output.host::<T>()?);
    let (mode, width) = (dx.mode, dims.h * dims.d);
    let share = 1.0 / T::from_usize(dims.n * dims.h).to_f64();
    for_each_block(blocks(dx.buf.host::<T>()?, dims.n * width), |sample, dx| {
        let rows = dx.chunks_exact_mut(width).zip(x[sample * dims.n * width..].chunks_exact(width));
        for (dx, x) in rows {
            if mode == Mode::Write {
                dx.fill(T::ZERO);
            }
            let a = mean(x, dims);
            if a < FLOOR {
                continue;
            }
            let slope = T::from_f64(dy[sample].to_f64() * share / a);
            dx.iter_mut().step_by(dims.d).for_each(|dx| put(mode, dx, slope));
        }
    });
    Ok(())
}
