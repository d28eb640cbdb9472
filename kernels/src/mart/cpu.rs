//! Groups of rows over the threads; the backward pass computes the softmaxes again.

use engine::{Backward, Forward, Mode, Result};

use super::{CEILING, FLOOR, NAME, WHOLE};
use crate::common::grad::put;
use crate::common::labels;
use crate::common::math::Float;
use crate::common::rows::{LogSoftmax, for_grad_rows, for_rows, weighted, window};

pub(super) fn forward<T: Float>(mut io: Forward, beta: f64) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (a, b, y) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.inputs[2].host::<i32>()?);
    labels::check(NAME, y, classes)?;
    for_rows(io.output.host::<T>()?, classes, |first, losses| {
        for (i, loss) in losses.iter_mut().enumerate() {
            let row = first + i;
            let sample = Sample::of(window(a, classes, row, 1), window(b, classes, row, 1), labels::class(y[row]));
            *loss = T::from_f64(sample.loss(beta));
        }
    });
    Ok(())
}

pub(super) fn backward<T: Float>(io: Backward, beta: f64) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (a, b, y) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.inputs[2].host::<i32>()?);
    let d_loss = io.d_output.host::<T>()?;
    for (side, grad) in io.d_inputs.iter_mut().enumerate() {
        let Some(grad) = grad else { continue };
        for_grad_rows(grad, classes, |first, d, mode| {
            for (i, d) in d.chunks_exact_mut(classes).enumerate() {
                let row = first + i;
                let sample = Sample::of(window(a, classes, row, 1), window(b, classes, row, 1), labels::class(y[row]));
                if side == 0 {
                    sample.d_clean(beta, d_loss[row], d, mode);
                } else {
                    sample.d_attacked(beta, d_loss[row], d, mode);
                }
            }
        })?;
    }
    Ok(())
}

/// One sample's rows of logits.
struct Sample<'a, T> {
    a: &'a [T],
    b: &'a [T],
    p: LogSoftmax,
    q: LogSoftmax,
    y: usize,
    /// Most probable class of q but y.
    other: usize,
}

impl<'a, T: Float> Sample<'a, T> {
    fn of(a: &'a [T], b: &'a [T], y: usize) -> Self {
        let mut other = usize::from(y == 0);
        for (class, &value) in b.iter().enumerate() {
            if class != y && value > b[other] {
                other = class;
            }
        }
        Self { a, b, p: LogSoftmax::of(a), q: LogSoftmax::of(b), y, other }
    }

    /// p (log p - log(q + floor) - shift) of class j.
    fn term(&self, j: usize, shift: f64) -> f64 {
        weighted(self.p.log_p(self.a[j]), (self.q.p(self.b[j]) + FLOOR).ln(), shift)
    }

    fn divergence(&self) -> f64 {
        (0..self.a.len()).map(|j| self.term(j, 0.0)).sum()
    }

    fn weight(&self) -> f64 {
        WHOLE - self.p.p(self.a[self.y])
    }

    fn loss(&self, beta: f64) -> f64 {
        let boosted = -self.q.log_p(self.b[self.y]) - (CEILING - self.q.p(self.b[self.other])).ln();
        boosted + beta * self.divergence() * self.weight()
    }

    fn d_clean(&self, beta: f64, d_loss: T, da: &mut [T], mode: Mode) {
        let (divergence, weight, p_y) = (self.divergence(), self.weight(), self.p.p(self.a[self.y]));
        for (j, da) in da.iter_mut().enumerate() {
            let hit = if j == self.y { 1.0 } else { 0.0 };
            let slope = weight * self.term(j, divergence) - divergence * p_y * (hit - self.p.p(self.a[j]));
            put(mode, da, d_loss * T::from_f64(beta * slope));
        }
    }

    fn d_attacked(&self, beta: f64, d_loss: T, db: &mut [T], mode: Mode) {
        // p q / (q + floor): what reaches q of the divergence's gradient.
        let passed = |j: usize| {
            let q = self.q.p(self.b[j]);
            self.p.p(self.a[j]) * (q / (q + FLOOR))
        };
        let total: f64 = (0..db.len()).map(passed).sum();
        let most = self.q.p(self.b[self.other]);
        let (boost, pull) = (most / (CEILING - most), beta * self.weight());
        for (j, db) in db.iter_mut().enumerate() {
            let q = self.q.p(self.b[j]);
            let is = |class: usize| if j == class { 1.0 } else { 0.0 };
            let slope = (q - is(self.y)) + boost * (is(self.other) - q) + pull * (q * total - passed(j));
            put(mode, db, d_loss * T::from_f64(slope));
        }
    }
}
