//! Plain loops. `tokens` are the first token that is read and their number.

use engine::Real;

pub(super) fn forward<T: Real>([b, n, d]: [usize; 3], (first, count): (usize, usize), x: &[T]) -> Vec<T> {
    let at = |sample: usize, token: usize, column: usize| x[(sample * n + token) * d + column];
    (0..b * d)
        .map(|i| (first..first + count).map(|token| at(i / d, token, i % d)).sum::<T>() / T::from_usize(count))
        .collect()
}

/// Returns dx.
pub(super) fn backward<T: Real>([b, n, d]: [usize; 3], (first, count): (usize, usize), dy: &[T]) -> Vec<T> {
    (0..b * n * d)
        .map(|i| {
            let inside = (first..first + count).contains(&(i / d % n));
            if inside { dy[i / (n * d) * d + i % d] / T::from_usize(count) } else { T::ZERO }
        })
        .collect()
}
