//! Plain loops.

use engine::Real;

fn factor<T: Real>(width: usize, mean: bool) -> T {
    if mean { T::ONE / T::from_usize(width) } else { T::ONE }
}

pub(super) fn forward<T: Real>(a: &[T], b: &[T], width: usize, mean: bool) -> Vec<T> {
    let row = |(a, b): (&[T], &[T])| {
        let sum: T = a.iter().zip(b).map(|(&a, &b)| (a - b) * (a - b)).sum();
        factor::<T>(width, mean) * sum
    };
    a.chunks(width).zip(b.chunks(width)).map(row).collect()
}

/// Returns da; db is its negative.
pub(super) fn backward<T: Real>(a: &[T], b: &[T], width: usize, mean: bool, d: &[T]) -> Vec<T> {
    let two = T::ONE + T::ONE;
    (0..a.len()).map(|i| two * factor::<T>(width, mean) * d[i / width] * (a[i] - b[i])).collect()
}
