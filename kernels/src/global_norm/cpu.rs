//! Blocks over the threads; their sums are added in order.

use engine::{Forward, Result};

use crate::common::flat::{BLOCK, block, sum_squares};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};

pub(super) fn forward<T: Float>(mut io: Forward, max_norm: f64) -> Result<()> {
    let mut total = 0.0;
    for gradient in io.inputs {
        let gradient = gradient.host::<T>()?;
        let sums = io.scratch.scratch::<f64>();
        let sums = &mut sums[..gradient.len().div_ceil(BLOCK)];
        for_each_block(blocks(sums, 1), |i, sum| sum[0] = sum_squares(block(gradient, i)));
        total += sums.iter().sum::<f64>();
    }
    // Rounded first: a norm that overflows the element type is not finite either.
    let norm = T::from_f64(total.sqrt());
    let factor = super::factor(norm.to_f64(), max_norm);
    io.output.host::<T>()?.copy_from_slice(&[norm, T::from_f64(factor)]);
    Ok(())
}
