//! Plain loops.

use engine::Real;

pub(super) fn forward<T: Real>(values: &[T], weights: &[T], divide: bool) -> T {
    let sum: T = values.iter().zip(weights).map(|(&v, &w)| w * v).sum();
    if divide { sum / weights.iter().copied().sum::<T>() } else { sum }
}

/// Returns dv.
pub(super) fn backward<T: Real>(weights: &[T], divide: bool, dy: T) -> Vec<T> {
    let total = if divide { weights.iter().copied().sum::<T>() } else { T::ONE };
    weights.iter().map(|&w| dy * w / total).collect()
}
