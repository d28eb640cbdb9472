//! Fast loops, one pass per term: terms are losses and logits, small beside the cache.

use engine::{Backward, Forward, Mode, Result};

use crate::common::grad::put;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block, rows_per_block};
use crate::common::simd::simd;

simd! {
    fn scaled<T: Float>(factor: T, x: &[T], mode: Mode, y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            put(mode, y, factor * x);
        }
    }
}

pub(super) fn forward<T: Float>(coefficients: &[f32], mut io: Forward) -> Result<()> {
    let y = io.output.host::<T>()?;
    let mut mode = Mode::Write;
    for (&coefficient, x) in coefficients.iter().zip(io.inputs) {
        each_block(coefficient, x.host()?, mode, y);
        mode = Mode::Add;
    }
    Ok(())
}

pub(super) fn backward<T: Float>(coefficients: &[f32], io: Backward) -> Result<()> {
    let dy = io.d_output.host::<T>()?;
    for (&coefficient, grad) in coefficients.iter().zip(io.d_inputs) {
        if let Some(grad) = grad {
            each_block(coefficient, dy, grad.mode, grad.buf.host()?);
        }
    }
    Ok(())
}

fn each_block<T: Float>(coefficient: f32, x: &[T], mode: Mode, y: &mut [T]) {
    let block = rows_per_block(1);
    for_each_block(blocks(y, block), |index, y| {
        scaled(T::from_f32(coefficient), &x[index * block..][..y.len()], mode, y)
    });
}
