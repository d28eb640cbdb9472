//! Fast loops: a sample per task.

use engine::{Backward, Forward, Result};

use super::{NAME, Pool};
use crate::common::grad::{put, put_zeros};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};

pub(super) fn forward<T: Float>(pool: Pool, mut io: Forward) -> Result<()> {
    let [_, n, d] = io.inputs[0].spec().array(NAME, "x")?;
    let x = io.inputs[0].host::<T>()?;
    let (first, count) = pool.range(n);
    for_each_block(blocks(io.output.host::<T>()?, d), |sample, y| {
        let tokens = &x[(sample * n + first) * d..][..count * d];
        y.copy_from_slice(&tokens[..d]);
        for token in tokens.chunks_exact(d).skip(1) {
            for (y, &x) in y.iter_mut().zip(token) {
                *y += x;
            }
        }
        if count > 1 {
            let count = T::from_usize(count);
            y.iter_mut().for_each(|y| *y = *y / count);
        }
    });
    Ok(())
}

pub(super) fn backward<T: Float>(pool: Pool, io: Backward) -> Result<()> {
    let [Some(dx)] = io.d_inputs else { return Ok(()) };
    let [_, n, d] = dx.buf.spec().array(NAME, "dx")?;
    let dy = io.d_output.host::<T>()?;
    let (first, count) = pool.range(n);
    let (mode, divisor) = (dx.mode, T::from_usize(count));
    for_each_block(blocks(dx.buf.host::<T>()?, n * d), |sample, dx| {
        let dy = &dy[sample * d..][..d];
        for (token, dx) in dx.chunks_exact_mut(d).enumerate() {
            if (first..first + count).contains(&token) {
                dx.iter_mut().zip(dy).for_each(|(dx, &dy)| put(mode, dx, dy / divisor));
            } else {
                put_zeros(mode, dx);
            }
        }
    });
    Ok(())
}
