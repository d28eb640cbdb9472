//! Blocks over the threads.

use engine::{Backward, Forward, Mode, Result};

use crate::common::flat::{BLOCK, block};
use crate::common::grad::put;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::simd::simd;

simd! {
    fn choose<T: Float>(image: &[T], patch: &[T], mask: &[T], y: &mut [T]) {
        for (((y, &image), &patch), &mask) in y.iter_mut().zip(image).zip(patch).zip(mask) {
            *y = if mask != T::ZERO { patch } else { image };
        }
    }

    fn take<T: Float>(dy: &[T], mask: &[T], inside: bool, mode: Mode, dx: &mut [T]) {
        for ((dx, &dy), &mask) in dx.iter_mut().zip(dy).zip(mask) {
            if (mask != T::ZERO) == inside {
                put(mode, dx, dy);
            } else if mode == Mode::Write {
                *dx = T::ZERO;
            }
        }
    }
}

pub(super) fn forward<T: Float>(mut io: Forward) -> Result<()> {
    let (image, patch, mask) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.inputs[2].host::<T>()?);
    for_each_block(blocks(io.output.host::<T>()?, BLOCK), |i, y| {
        choose(block(image, i), block(patch, i), block(mask, i), y);
    });
    Ok(())
}

pub(super) fn backward<T: Float>(io: Backward) -> Result<()> {
    let (dy, mask) = (io.d_output.host::<T>()?, io.inputs[2].host::<T>()?);
    for (inside, dx) in [false, true].into_iter().zip(io.d_inputs) {
        let Some(dx) = dx else { continue };
        let mode = dx.mode;
        for_each_block(blocks(dx.buf.host::<T>()?, BLOCK), |i, dx| {
            take(block(dy, i), block(mask, i), inside, mode, dx)
        });
    }
    Ok(())
}
