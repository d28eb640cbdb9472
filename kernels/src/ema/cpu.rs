//! Blocks over the threads.

use engine::{Result, UpdateIo};

use crate::common::flat::{BLOCK, block};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::simd::simd;

pub(super) fn run<T: Float>(decay: f64, io: UpdateIo) -> Result<()> {
    let params = io.inputs[0].host::<T>()?;
    let Some(average) = io.state.first_mut() else { return Ok(()) };
    for_each_block(blocks(average.host::<T>()?, BLOCK), |i, average| {
        approach(average, block(params, i), T::from_f64(1.0 - decay));
    });
    Ok(())
}

simd! {
    fn approach<T: Float>(average: &mut [T], params: &[T], rate: T) {
        for (average, &p) in average.iter_mut().zip(params) {
            *average += rate * (p - *average);
        }
    }
}
