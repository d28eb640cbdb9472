//! One loop in f64: there is one number per image.

use engine::{Backward, Forward, Result};

use crate::common::grad::put;
use crate::common::math::Float;

pub(super) fn forward<T: Float>(mut io: Forward) -> Result<()> {
    let (a, b) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    for ((y, &a), &b) in io.output.host::<T>()?.iter_mut().zip(a).zip(b) {
        let (a, b) = (a.to_f64(), b.to_f64());
        // Equal infinities have no difference.
        let gap = if a == b { 0.0 } else { (a - b).abs() };
        *y = T::from_f64((if b < a { b } else { a }) - (-gap).exp().ln_1p());
    }
    Ok(())
}

pub(super) fn backward<T: Float>(io: Backward) -> Result<()> {
    let (a, b) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    let dy = io.d_output.host::<T>()?;
    for ((own, other), grad) in [(a, b), (b, a)].into_iter().zip(io.d_inputs) {
        let Some(grad) = grad else { continue };
        let mode = grad.mode;
        for (((d, &own), &other), &dy) in grad.buf.host::<T>()?.iter_mut().zip(own).zip(other).zip(dy) {
            let gap = if own == other { 0.0 } else { own.to_f64() - other.to_f64() };
            put(mode, d, T::from_f64(dy.to_f64() / (1.0 + gap.exp())));
        }
    }
    Ok(())
}
