//! Groups of rows over the threads.

use engine::{Backward, Forward, Mode, Result};

use super::NAME;
use crate::common::labels;
use crate::common::math::Float;
use crate::common::rows::{for_grad_rows, for_rows, window};

pub(super) fn forward<T: Float>(mut io: Forward, cap: Option<f64>) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, y) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<i32>()?);
    labels::check(NAME, y, classes)?;
    for_rows(io.output.host::<T>()?, classes, |first, losses| {
        let rows = losses.len();
        let samples = window(z, classes, first, rows).chunks_exact(classes).zip(window(y, 1, first, rows));
        for ((z, &y), loss) in samples.zip(losses) {
            let (_, margin) = runner_up(z, labels::class(y));
            *loss = match cap {
                Some(cap) if margin > T::from_f64(cap) => T::from_f64(cap),
                _ => margin,
            };
        }
    });
    Ok(())
}

pub(super) fn backward<T: Float>(io: Backward, cap: Option<f64>) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, y, d_loss) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<i32>()?, io.d_output.host::<T>()?);
    let Some(Some(grad)) = io.d_inputs.first_mut() else { return Ok(()) };
    for_grad_rows(grad, classes, |first, dz, mode| {
        let rows = dz.len() / classes;
        let samples = window(z, classes, first, rows).chunks_exact(classes).zip(window(y, 1, first, rows));
        for (((z, &y), &d), dz) in samples.zip(&d_loss[first..]).zip(dz.chunks_exact_mut(classes)) {
            if mode == Mode::Write {
                dz.fill(T::ZERO);
            }
            let y = labels::class(y);
            let (other, margin) = runner_up(z, y);
            if cap.is_none_or(|cap| margin <= T::from_f64(cap)) {
                dz[other] += d;
                dz[y] -= d;
            }
        }
    })
}

/// The largest logit but that of `y` (the first, of equals), and its lead over y's.
fn runner_up<T: Float>(z: &[T], y: usize) -> (usize, T) {
    let mut best = usize::from(y == 0);
    for (class, &value) in z.iter().enumerate() {
        if class != y && value > z[best] {
            best = class;
        }
    }
    (best, z[best] - z[y])
}
