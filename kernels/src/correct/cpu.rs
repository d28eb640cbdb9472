//! Groups of rows over the threads.

use engine::{Forward, Result};

use super::NAME;
use crate::common::labels;
use crate::common::math::Float;
use crate::common::rows::{for_rows, window};
use crate::common::simd::simd;

pub(super) fn forward<T: Float>(mut io: Forward) -> Result<()> {
    let classes = io.inputs[0].spec().shape.last();
    let (z, y) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<i32>()?);
    labels::check(NAME, y, classes)?;
    for_rows(io.output.host::<T>()?, classes, |first, right| {
        let rows = right.len();
        compare(window(z, classes, first, rows), window(y, 1, first, rows), classes, right);
    });
    Ok(())
}

simd! {
    /// Comparisons with NaN are false, in either half: such a row is never right.
    fn compare<T: Float>(z: &[T], y: &[i32], classes: usize, right: &mut [T]) {
        for ((z, &y), right) in z.chunks_exact(classes).zip(y).zip(right) {
            let (before, rest) = z.split_at(labels::class(y));
            let own = rest[0];
            let wins = before.iter().fold(true, |wins, &z| wins & (z < own))
                & rest.iter().fold(true, |wins, &z| wins & (z <= own));
            *right = if wins { T::ONE } else { T::ZERO };
        }
    }
}
