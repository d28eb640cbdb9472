//! Fast loops: blocks of planes over the threads.

use engine::{Backward, Forward, Mode, Result, Spec};

use super::Normalise;
use crate::common::grad::put;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block, rows_per_block};
use crate::common::simd::simd;

simd! {
    fn plane<T: Float>(x: &[T], mean: T, factor: T, mode: Mode, y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            put(mode, y, (x - mean) * factor);
        }
    }
}

pub(super) fn forward<T: Float>(op: &Normalise, mut io: Forward) -> Result<()> {
    let spec = io.output.spec();
    each_plane::<T>(op, spec, true, io.inputs[0].host()?, Mode::Write, io.output.host()?);
    Ok(())
}

pub(super) fn backward<T: Float>(op: &Normalise, io: Backward) -> Result<()> {
    if let [Some(dx)] = io.d_inputs {
        each_plane::<T>(op, io.d_output.spec(), false, io.d_output.host()?, dx.mode, dx.buf.host()?);
    }
    Ok(())
}

fn each_plane<T: Float>(op: &Normalise, spec: Spec, shifted: bool, x: &[T], mode: Mode, y: &mut [T]) {
    let channels = op.mean.len();
    let pixels = spec.dims().iter().skip(2).product::<usize>();
    let group = rows_per_block(pixels);
    for_each_block(blocks(y, group * pixels), |block, y| {
        let first = block * group;
        for (index, y) in y.chunks_exact_mut(pixels).enumerate() {
            let channel = (first + index) % channels;
            let mean = if shifted { T::from_f32(op.mean[channel]) } else { T::ZERO };
            let factor = T::ONE / T::from_f32(op.std[channel]);
            plane(&x[(first + index) * pixels..][..pixels], mean, factor, mode, y);
        }
    });
}
