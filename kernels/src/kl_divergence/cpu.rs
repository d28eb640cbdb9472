//! Groups of rows over the threads; the backward pass computes the softmaxes again.

use engine::{Backward, Forward, Mode, Result};

use crate::common::grad::put;
use crate::common::math::Float;
use crate::common::rows::{LogSoftmax, for_grad_rows, for_rows, weighted, window};

pub(super) fn forward<T: Float>(mut io: Forward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (a, b) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    for_rows(io.output.host::<T>()?, classes, |first, kl| {
        let rows = kl.len();
        divergences(window(a, classes, first, rows), window(b, classes, first, rows), classes, kl);
    });
    Ok(())
}

pub(super) fn backward<T: Float>(io: Backward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (a, b, d_kl) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.d_output.host::<T>()?);
    for (side, grad) in io.d_inputs.iter_mut().enumerate() {
        let Some(grad) = grad else { continue };
        for_grad_rows(grad, classes, |first, d, mode| {
            let rows = d.len() / classes;
            let (a, b) = (window(a, classes, first, rows), window(b, classes, first, rows));
            let d_kl = window(d_kl, 1, first, rows);
            if side == 0 {
                d_first(a, b, classes, d_kl, d, mode);
            } else {
                d_second(a, b, classes, d_kl, d, mode);
            }
        })?;
    }
    Ok(())
}

fn divergence<T: Float>(a: &[T], b: &[T], p: LogSoftmax, q: LogSoftmax) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| weighted(p.log_p(a), q.log_p(b), 0.0)).sum()
}

fn divergences<T: Float>(a: &[T], b: &[T], classes: usize, kl: &mut [T]) {
    for ((a, b), kl) in a.chunks_exact(classes).zip(b.chunks_exact(classes)).zip(kl) {
        *kl = T::from_f64(divergence(a, b, LogSoftmax::of(a), LogSoftmax::of(b)));
    }
}

fn d_first<T: Float>(a: &[T], b: &[T], classes: usize, d_kl: &[T], da: &mut [T], mode: Mode) {
    let rows = a.chunks_exact(classes).zip(b.chunks_exact(classes));
    for (((a, b), da), &d) in rows.zip(da.chunks_exact_mut(classes)).zip(d_kl) {
        let (p, q) = (LogSoftmax::of(a), LogSoftmax::of(b));
        let kl = divergence(a, b, p, q);
        for ((da, &a), &b) in da.iter_mut().zip(a).zip(b) {
            put(mode, da, d * T::from_f64(weighted(p.log_p(a), q.log_p(b), kl)));
        }
    }
}

fn d_second<T: Float>(a: &[T], b: &[T], classes: usize, d_kl: &[T], db: &mut [T], mode: Mode) {
    let rows = a.chunks_exact(classes).zip(b.chunks_exact(classes));
    for (((a, b), db), &d) in rows.zip(db.chunks_exact_mut(classes)).zip(d_kl) {
        let (p, q) = (LogSoftmax::of(a), LogSoftmax::of(b));
        for ((db, &a), &b) in db.iter_mut().zip(a).zip(b) {
            put(mode, db, d * T::from_f64(q.p(b) - p.p(a)));
        }
    }
}
