//! Samples over the threads.

use engine::{Backward, Forward, Mode, Result};

use crate::common::grad::put;
use crate::common::math::Float;
use crate::common::rows::{for_grad_rows, for_rows, sum_map2, window};
use crate::common::simd::simd;
use crate::common::specs::per_sample_elements;

pub(super) fn forward<T: Float>(mut io: Forward, mean: bool) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (a, b) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    for_rows(io.output.host::<T>()?, width, |first, distance| {
        let rows = distance.len();
        distances(window(a, width, first, rows), window(b, width, first, rows), width, factor(width, mean), distance);
    });
    Ok(())
}

pub(super) fn backward<T: Float>(io: Backward, mean: bool) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (a, b, d_output) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.d_output.host::<T>()?);
    for (grad, (this, other)) in io.d_inputs.iter_mut().zip([(a, b), (b, a)]) {
        let Some(grad) = grad else { continue };
        for_grad_rows(grad, width, |first, d, mode| {
            let rows = d.len() / width;
            let (this, other) = (window(this, width, first, rows), window(other, width, first, rows));
            gradients(this, other, width, factor(width, mean), window(d_output, 1, first, rows), d, mode);
        })?;
    }
    Ok(())
}

fn factor<T: Float>(width: usize, mean: bool) -> T {
    if mean { T::ONE / T::from_usize(width) } else { T::ONE }
}

simd! {
    fn distances<T: Float>(a: &[T], b: &[T], width: usize, factor: T, distance: &mut [T]) {
        for ((a, b), distance) in a.chunks_exact(width).zip(b.chunks_exact(width)).zip(distance) {
            *distance = factor * sum_map2(a, b, |a, b| (a - b) * (a - b));
        }
    }

    fn gradients<T: Float>(a: &[T], b: &[T], width: usize, factor: T, d_output: &[T], da: &mut [T], mode: Mode) {
        let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
        for (((a, b), da), &d) in rows.zip(da.chunks_exact_mut(width)).zip(d_output) {
            let scale = (factor + factor) * d;
            for ((da, &a), &b) in da.iter_mut().zip(a).zip(b) {
                put(mode, da, scale * (a - b));
            }
        }
    }
}
