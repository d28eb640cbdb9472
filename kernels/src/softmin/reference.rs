//! Plain loops.

use engine::Real;

pub(super) fn forward<T: Real>(a: &[T], b: &[T]) -> Vec<T> {
    let pairs = a.iter().zip(b);
    pairs
        .map(|(&a, &b)| {
            let least = if b < a { b } else { a };
            least - ((least - a).exp() + (least - b).exp()).ln()
        })
        .collect()
}

/// The gradient of the first of two: the share of its likelihood.
pub(super) fn backward<T: Real>(own: &[T], other: &[T], dy: &[T]) -> Vec<T> {
    (0..dy.len()).map(|i| dy[i] / (T::ONE + (own[i] - other[i]).exp())).collect()
}
