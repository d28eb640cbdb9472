//! Groups of rows over the threads; the backward pass computes the softmaxes again.

use engine::{Backward, Forward, Mode, Result};

use crate::common::grad::put;
use crate::common::math::Float;
use crate::common::rows::{LogSoftmax, for_grad_rows, for_rows, window};

pub(super) fn forward<T: Float>(mut io: Forward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (a, b) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    for_rows(io.output.host::<T>()?, classes, |first, distance| {
        let rows = distance.len();
        distances(window(a, classes, first, rows), window(b, classes, first, rows), classes, distance);
    });
    Ok(())
}

pub(super) fn backward<T: Float>(io: Backward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (a, b, d_output) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.d_output.host::<T>()?);
    for (grad, (this, other)) in io.d_inputs.iter_mut().zip([(a, b), (b, a)]) {
        let Some(grad) = grad else { continue };
        for_grad_rows(grad, classes, |first, d, mode| {
            let rows = d.len() / classes;
            let (this, other) = (window(this, classes, first, rows), window(other, classes, first, rows));
            gradients(this, other, classes, window(d_output, 1, first, rows), d, mode);
        })?;
    }
    Ok(())
}

fn distances<T: Float>(a: &[T], b: &[T], classes: usize, distance: &mut [T]) {
    for ((a, b), distance) in a.chunks_exact(classes).zip(b.chunks_exact(classes)).zip(distance) {
        let (p, q) = (LogSoftmax::of(a), LogSoftmax::of(b));
        let square = |(&a, &b): (&T, &T)| (p.p(a) - q.p(b)).powi(2);
        *distance = T::from_f64(a.iter().zip(b).map(square).sum());
    }
}

fn gradients<T: Float>(a: &[T], b: &[T], classes: usize, d_output: &[T], da: &mut [T], mode: Mode) {
    let rows = a.chunks_exact(classes).zip(b.chunks_exact(classes));
    for (((a, b), da), &d) in rows.zip(da.chunks_exact_mut(classes)).zip(d_output) {
        let (p, q) = (LogSoftmax::of(a), LogSoftmax::of(b));
        let both = |a: T, b: T| (p.p(a), p.p(a) - q.p(b));
        let mean: f64 = a.iter().zip(b).map(|(&a, &b)| both(a, b)).map(|(p, difference)| p * difference).sum();
        for ((da, &a), &b) in da.iter_mut().zip(a).zip(b) {
            let (p, difference) = both(a, b);
            put(mode, da, d * T::from_f64(2.0 * p * (difference - mean)));
        }
    }
}
