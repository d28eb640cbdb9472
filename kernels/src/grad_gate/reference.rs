//! Plain loops.

use engine::Real;

/// Returns dx.
pub(super) fn backward<T: Real>(uniform: f32, keep: T, dy: &[T]) -> Vec<T> {
    let open = T::from_f32(uniform) <= keep;
    dy.iter().map(|&dy| if open { dy } else { T::ZERO }).collect()
}
