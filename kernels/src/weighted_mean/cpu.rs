//! One thread: a batch of numbers.

use engine::{Backward, Forward, Result};

use super::Reduction;
use crate::common::grad::put;
use crate::common::math::{self, Float};

fn divisor<T: Float>(reduction: Reduction, weights: &[T]) -> T {
    match reduction {
        Reduction::Mean => math::sum(weights),
        Reduction::Sum => T::ONE,
    }
}

pub(super) fn forward<T: Float>(reduction: Reduction, mut io: Forward) -> Result<()> {
    let (values, weights) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    io.output.host::<T>()?[0] = math::dot(weights, values) / divisor(reduction, weights);
    Ok(())
}

pub(super) fn backward<T: Float>(reduction: Reduction, io: Backward) -> Result<()> {
    let weights = io.inputs[1].host::<T>()?;
    let factor = io.d_output.host::<T>()?[0] / divisor(reduction, weights);
    if let Some(Some(dv)) = io.d_inputs.first_mut() {
        let mode = dv.mode;
        for (dv, &w) in dv.buf.host::<T>()?.iter_mut().zip(weights) {
            put(mode, dv, factor * w);
        }
    }
    Ok(())
}
