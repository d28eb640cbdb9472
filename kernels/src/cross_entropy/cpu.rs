//! Groups of rows over the threads. The backward pass computes the row's softmax again: keeping it would cost more.

use engine::{Backward, Forward, Mode, Result};

use super::NAME;
use crate::common::grad::put;
use crate::common::labels;
use crate::common::math::Float;
use crate::common::rows::{LogSoftmax, for_grad_rows, for_rows, window};

pub(super) fn forward_soft<T: Float>(mut io: Forward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, t) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    for_rows(io.output.host::<T>()?, classes, |first, loss| {
        let rows = loss.len();
        soft_rows(window(z, classes, first, rows), window(t, classes, first, rows), classes, loss);
    });
    Ok(())
}

pub(super) fn backward_soft<T: Float>(io: Backward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, t, d_loss) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.d_output.host::<T>()?);
    let Some(Some(grad)) = io.d_inputs.first_mut() else { return Ok(()) };
    for_grad_rows(grad, classes, |first, dz, mode| {
        let rows = dz.len() / classes;
        let (z, t) = (window(z, classes, first, rows), window(t, classes, first, rows));
        d_soft_rows(z, t, classes, window(d_loss, 1, first, rows), dz, mode);
    })
}

pub(super) fn forward_labels<T: Float>(mut io: Forward, smoothing: f64) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, y) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<i32>()?);
    labels::check(NAME, y, classes)?;
    for_rows(io.output.host::<T>()?, classes, |first, loss| {
        let rows = loss.len();
        label_rows(window(z, classes, first, rows), window(y, 1, first, rows), classes, smoothing, loss);
    });
    Ok(())
}

pub(super) fn backward_labels<T: Float>(io: Backward, smoothing: f64) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, y, d_loss) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<i32>()?, io.d_output.host::<T>()?);
    let Some(Some(grad)) = io.d_inputs.first_mut() else { return Ok(()) };
    for_grad_rows(grad, classes, |first, dz, mode| {
        let rows = dz.len() / classes;
        let (z, y) = (window(z, classes, first, rows), window(y, 1, first, rows));
        d_label_rows(z, y, classes, smoothing, window(d_loss, 1, first, rows), dz, mode);
    })
}

fn soft_rows<T: Float>(z: &[T], t: &[T], classes: usize, loss: &mut [T]) {
    for ((z, t), loss) in z.chunks_exact(classes).zip(t.chunks_exact(classes)).zip(loss) {
        let row = LogSoftmax::of(z);
        let term = |(&z, &t): (&T, &T)| if t == T::ZERO { 0.0 } else { -(t.to_f64() * row.log_p(z)) };
        *loss = T::from_f64(z.iter().zip(t).map(term).sum());
    }
}

fn d_soft_rows<T: Float>(z: &[T], t: &[T], classes: usize, d_loss: &[T], dz: &mut [T], mode: Mode) {
    let rows = z.chunks_exact(classes).zip(t.chunks_exact(classes));
    for (((z, t), dz), &d) in rows.zip(dz.chunks_exact_mut(classes)).zip(d_loss) {
        let row = LogSoftmax::of(z);
        let total: f64 = t.iter().map(|t| t.to_f64()).sum();
        for ((dz, &z), &t) in dz.iter_mut().zip(z).zip(t) {
            put(mode, dz, d * T::from_f64(row.p(z) * total - t.to_f64()));
        }
    }
}

fn label_rows<T: Float>(z: &[T], y: &[i32], classes: usize, smoothing: f64, loss: &mut [T]) {
    for ((z, &y), loss) in z.chunks_exact(classes).zip(y).zip(loss) {
        let row = LogSoftmax::of(z);
        let hit = -row.log_p(z[labels::class(y)]);
        // Not by a factor of 0: a class that is switched off by -inf has an infinite mean.
        *loss = T::from_f64(if smoothing == 0.0 {
            hit
        } else {
            let sum: f64 = z.iter().map(|&z| -row.log_p(z)).sum();
            (1.0 - smoothing) * hit + smoothing * (sum / T::from_usize(classes).to_f64())
        });
    }
}

fn d_label_rows<T: Float>(z: &[T], y: &[i32], classes: usize, smoothing: f64, d_loss: &[T], dz: &mut [T], mode: Mode) {
    let off = smoothing / T::from_usize(classes).to_f64();
    for (((z, &y), dz), &d) in z.chunks_exact(classes).zip(y).zip(dz.chunks_exact_mut(classes)).zip(d_loss) {
        let row = LogSoftmax::of(z);
        let y = labels::class(y);
        for (class, (dz, &z)) in dz.iter_mut().zip(z).enumerate() {
            let target = if class == y { 1.0 - smoothing + off } else { off };
            put(mode, dz, d * T::from_f64(row.p(z) - target));
        }
    }
}
