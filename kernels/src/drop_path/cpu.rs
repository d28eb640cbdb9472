//! Fast loops: a sample per task.

use engine::rng::Philox;
use engine::{Backward, Forward, Mode, Result};

use super::DropPath;
use crate::common::grad::{put, put_zeros};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::random;
use crate::common::simd::simd;

simd! {
    fn scaled<T: Float>(factor: T, x: &[T], mode: Mode, y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            put(mode, y, factor * x);
        }
    }
}

pub(super) fn forward<T: Float>(op: &DropPath, mut io: Forward) -> Result<()> {
    let philox = random::philox(io.inputs[1], op.stream)?;
    masked::<T>(op, philox, io.inputs[2].host()?, io.inputs[0].host()?, Mode::Write, io.output.host()?);
    Ok(())
}

pub(super) fn backward<T: Float>(op: &DropPath, io: Backward) -> Result<()> {
    let philox = random::philox(io.inputs[1], op.stream)?;
    if let Some(Some(dx)) = io.d_inputs.first_mut() {
        masked::<T>(op, philox, io.inputs[2].host()?, io.d_output.host()?, dx.mode, dx.buf.host()?);
    }
    Ok(())
}

fn masked<T: Float>(op: &DropPath, philox: Philox, ids: &[u32], x: &[T], mode: Mode, y: &mut [T]) {
    let per_sample = y.len() / ids.len();
    let keep = 1.0 - op.rate;
    let factor = T::ONE / T::from_f32(keep);
    for_each_block(blocks(y, per_sample), |sample, y| {
        if philox.uniform(ids[sample], 0) < keep {
            scaled(factor, &x[sample * per_sample..][..per_sample], mode, y);
        } else {
            put_zeros(mode, y);
        }
    });
}
