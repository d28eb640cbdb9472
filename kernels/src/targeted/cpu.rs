//! Groups of rows over the threads.

use engine::{Backward, Forward, Mode, Result};

use super::{NAME, Scale, TINY};
use crate::common::labels;
use crate::common::math::Float;
use crate::common::rows::{for_grad_rows, for_rows, window};

pub(super) fn forward<T: Float>(scale: Scale, mut io: Forward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, y, t) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<i32>()?, io.inputs[2].host::<i32>()?);
    labels::check(NAME, y, classes)?;
    labels::check(NAME, t, classes)?;
    for_rows(io.output.host::<T>()?, classes, |first, losses| {
        let rows = losses.len();
        let classes_of = window(y, 1, first, rows).iter().zip(window(t, 1, first, rows));
        let samples = window(z, classes, first, rows).chunks_exact(classes).zip(classes_of);
        for ((z, (&y, &t)), loss) in samples.zip(losses) {
            let numerator = z[labels::class(t)] - z[labels::class(y)];
            *loss = match scale {
                Scale::None => numerator,
                Scale::Dlr => numerator / denominator(z, top4(z)),
            };
        }
    });
    Ok(())
}

pub(super) fn backward<T: Float>(scale: Scale, io: Backward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, d_loss) = (io.inputs[0].host::<T>()?, io.d_output.host::<T>()?);
    let (y, t) = (io.inputs[1].host::<i32>()?, io.inputs[2].host::<i32>()?);
    let Some(Some(grad)) = io.d_inputs.first_mut() else { return Ok(()) };
    for_grad_rows(grad, classes, |first, dz, mode| {
        let rows = dz.len() / classes;
        let classes_of = window(y, 1, first, rows).iter().zip(window(t, 1, first, rows));
        let samples = window(z, classes, first, rows).chunks_exact(classes).zip(classes_of);
        for (((z, (&y, &t)), &d), dz) in samples.zip(&d_loss[first..]).zip(dz.chunks_exact_mut(classes)) {
            if mode == Mode::Write {
                dz.fill(T::ZERO);
            }
            let (y, t) = (labels::class(y), labels::class(t));
            let mut slope = d;
            if scale == Scale::Dlr {
                let top = top4(z);
                let r = denominator(z, top);
                slope = d / r;
                let bend = slope * ((z[t] - z[y]) / r);
                dz[top[0]] -= bend;
                dz[top[2]] += bend * T::from_f64(0.5);
                dz[top[3]] += bend * T::from_f64(0.5);
            }
            dz[t] += slope;
            dz[y] -= slope;
        }
    })
}

fn denominator<T: Float>(z: &[T], [first, _, third, fourth]: [usize; 4]) -> T {
    z[first] - T::from_f64(0.5) * (z[third] + z[fourth]) + T::from_f64(TINY)
}

/// Indices of the four largest, largest first; of equals the first one leads.
fn top4<T: Float>(z: &[T]) -> [usize; 4] {
    let mut top = [0; 4];
    for (class, &value) in z.iter().enumerate() {
        let mut rank = class.min(4);
        while rank > 0 && value > z[top[rank - 1]] {
            rank -= 1;
        }
        if rank < 4 {
            top.copy_within(rank..3, rank + 1);
            top[rank] = class;
        }
    }
    top
}
