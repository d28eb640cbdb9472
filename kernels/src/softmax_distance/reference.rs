//! Plain loops.

use engine::Real;

use crate::cross_entropy::reference::softmax;

pub(super) fn forward<T: Real>(a: &[T], b: &[T], classes: usize) -> Vec<T> {
    let row = |(a, b): (&[T], &[T])| softmax(a).iter().zip(softmax(b)).map(|(&p, q)| (p - q) * (p - q)).sum();
    a.chunks(classes).zip(b.chunks(classes)).map(row).collect()
}

/// Returns (da, db).
pub(super) fn backward<T: Real>(a: &[T], b: &[T], classes: usize, d: &[T]) -> (Vec<T>, Vec<T>) {
    (side(a, b, classes, d), side(b, a, classes, d))
}

fn side<T: Real>(a: &[T], b: &[T], classes: usize, d: &[T]) -> Vec<T> {
    let mut da = Vec::new();
    for ((a, b), &d) in a.chunks(classes).zip(b.chunks(classes)).zip(d) {
        let (p, q) = (softmax(a), softmax(b));
        let mean: T = p.iter().zip(&q).map(|(&p, &q)| p * (p - q)).sum();
        da.extend(p.iter().zip(&q).map(|(&p, &q)| d * ((T::ONE + T::ONE) * p * ((p - q) - mean))));
    }
    da
}
