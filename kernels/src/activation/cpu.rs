//! Fast loops over blocks of elements.

use engine::{Backward, Forward, Mode, Result};

use super::Activation;
use crate::common::grad::put;
use crate::common::math::{self, Float};
use crate::common::parallel::{blocks, for_each_block, rows_per_block};
use crate::common::simd::simd;

simd! {
    fn gelu<T: Float>(x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = math::gelu(x);
        }
    }

    fn gelu_backward<T: Float>(x: &[T], dy: &[T], mode: Mode, dx: &mut [T]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            put(mode, dx, dy * math::gelu_derivative(x));
        }
    }

    fn relu<T: Float>(x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = if x < T::ZERO { T::ZERO } else { x }; // NaN stays NaN
        }
    }

    fn relu_backward<T: Float>(x: &[T], dy: &[T], mode: Mode, dx: &mut [T]) {
        for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
            put(mode, dx, if x > T::ZERO { dy } else { T::ZERO });
        }
    }
}

pub(super) fn forward<T: Float>(activation: Activation, mut io: Forward) -> Result<()> {
    let x = io.inputs[0].host::<T>()?;
    let block = rows_per_block(1);
    for_each_block(blocks(io.output.host::<T>()?, block), |index, y| {
        let x = &x[index * block..][..y.len()];
        match activation {
            Activation::Gelu => gelu(x, y),
            Activation::Relu => relu(x, y),
        }
    });
    Ok(())
}

pub(super) fn backward<T: Float>(activation: Activation, io: Backward) -> Result<()> {
    let [Some(grad)] = io.d_inputs else { return Ok(()) };
    let (x, dy, mode) = (io.inputs[0].host::<T>()?, io.d_output.host::<T>()?, grad.mode);
    let block = rows_per_block(1);
    for_each_block(blocks(grad.buf.host::<T>()?, block), |index, dx| {
        let (x, dy) = (&x[index * block..][..dx.len()], &dy[index * block..][..dx.len()]);
        match activation {
            Activation::Gelu => gelu_backward(x, dy, mode, dx),
            Activation::Relu => relu_backward(x, dy, mode, dx),
        }
    });
    Ok(())
}
