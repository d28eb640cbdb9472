//! Groups of rows over the threads.

use engine::{Backward, Forward, Mode, Result};

use super::{NAME, TINY};
use crate::common::labels;
use crate::common::math::Float;
use crate::common::rows::{for_grad_rows, for_rows, window};

pub(super) fn forward<T: Float>(mut io: Forward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, y) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<i32>()?);
    labels::check(NAME, y, classes)?;
    for_rows(io.output.host::<T>()?, classes, |first, losses| {
        let rows = losses.len();
        let samples = window(z, classes, first, rows).chunks_exact(classes).zip(window(y, 1, first, rows));
        for ((z, &y), loss) in samples.zip(losses) {
            let ratio = Ratio::of(z, labels::class(y));
            *loss = ratio.numerator / ratio.denominator;
        }
    });
    Ok(())
}

pub(super) fn backward<T: Float>(io: Backward) -> Result<()> {
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
            let ratio = Ratio::of(z, y);
            let slope = d / ratio.denominator;
            let bend = slope * (ratio.numerator / ratio.denominator);
            dz[ratio.other] += slope;
            dz[y] -= slope;
            dz[ratio.first] -= bend;
            dz[ratio.third] += bend;
        }
    })
}

/// The selected entries of a row, and the two terms of the ratio.
struct Ratio<T> {
    other: usize,
    first: usize,
    third: usize,
    numerator: T,
    denominator: T,
}

impl<T: Float> Ratio<T> {
    fn of(z: &[T], y: usize) -> Self {
        let [first, second, third] = top3(z);
        let other = if first == y { second } else { first };
        Self { other, first, third, numerator: z[other] - z[y], denominator: z[first] - z[third] + T::from_f64(TINY) }
    }
}

/// Indices of the three largest, largest first; of equals the first one leads.
fn top3<T: Float>(z: &[T]) -> [usize; 3] {
    let mut top = [0; 3];
    for (class, &value) in z.iter().enumerate() {
        let mut rank = class.min(3);
        while rank > 0 && value > z[top[rank - 1]] {
            rank -= 1;
        }
        if rank < 3 {
            top.copy_within(rank..2, rank + 1);
            top[rank] = class;
        }
    }
    top
}
