//! Plain loops.

use engine::Real;

pub(super) fn forward<T: Real>(gradients: &[&[T]], max_norm: f64) -> [T; 2] {
    let sum: T = gradients.iter().flat_map(|g| g.iter()).map(|&g| g * g).sum();
    let norm = sum.sqrt();
    if norm.is_finite() {
        [norm, T::from_f64(max_norm / (norm.to_f64() + super::TINY)).min(T::ONE)]
    } else {
        [norm, T::ZERO]
    }
}
