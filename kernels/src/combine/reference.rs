//! Plain loops.

use engine::Real;

pub(super) fn forward<T: Real>(coefficients: &[f32], terms: &[&[T]]) -> Vec<T> {
    (0..terms[0].len()).map(|i| coefficients.iter().zip(terms).map(|(&c, x)| T::from_f32(c) * x[i]).sum()).collect()
}

/// Returns dx of one term.
pub(super) fn backward<T: Real>(coefficient: f32, dy: &[T]) -> Vec<T> {
    dy.iter().map(|&dy| T::from_f32(coefficient) * dy).collect()
}
