//! Plain loops.

use engine::Real;

pub(super) fn forward<T: Real>(x: &[T], branch: &[T], gamma: Option<&[T]>, y: &mut [T]) {
    for i in 0..y.len() {
        let scale = gamma.map_or(T::ONE, |gamma| gamma[i % gamma.len()]);
        y[i] = x[i] + scale * branch[i];
    }
}

/// Returns (dx, dbranch, dgamma).
pub(super) fn backward<T: Real>(branch: &[T], gamma: Option<&[T]>, dy: &[T]) -> (Vec<T>, Vec<T>, Vec<T>) {
    let Some(gamma) = gamma else { return (dy.to_vec(), dy.to_vec(), Vec::new()) };
    let mut d_gamma = vec![T::ZERO; gamma.len()];
    let mut d_branch = vec![T::ZERO; dy.len()];
    for i in 0..dy.len() {
        d_branch[i] = gamma[i % gamma.len()] * dy[i];
        d_gamma[i % gamma.len()] += dy[i] * branch[i];
    }
    (dy.to_vec(), d_branch, d_gamma)
}
