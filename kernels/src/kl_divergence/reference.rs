//! Plain loops.

use engine::Real;

use crate::cross_entropy::reference::{log_softmax, softmax};

fn divergence<T: Real>(a: &[T], b: &[T]) -> T {
    let (p, log_p, log_q) = (softmax(a), log_softmax(a), log_softmax(b));
    let mut sum = T::ZERO;
    for k in 0..a.len() {
        if p[k] > T::ZERO {
            sum += p[k] * (log_p[k] - log_q[k]);
        }
    }
    sum
}

pub(super) fn forward<T: Real>(a: &[T], b: &[T], classes: usize) -> Vec<T> {
    a.chunks(classes).zip(b.chunks(classes)).map(|(a, b)| divergence(a, b)).collect()
}

/// Returns (da, db).
pub(super) fn backward<T: Real>(a: &[T], b: &[T], classes: usize, d: &[T]) -> (Vec<T>, Vec<T>) {
    let (mut da, mut db) = (Vec::new(), Vec::new());
    for ((a, b), &d) in a.chunks(classes).zip(b.chunks(classes)).zip(d) {
        let (p, q, log_p, log_q) = (softmax(a), softmax(b), log_softmax(a), log_softmax(b));
        let kl = divergence(a, b);
        for k in 0..classes {
            da.push(if p[k] > T::ZERO { d * (p[k] * (log_p[k] - log_q[k] - kl)) } else { T::ZERO });
            db.push(d * (q[k] - p[k]));
        }
    }
    (da, db)
}
