//! Plain loops.

use engine::Real;

pub(super) fn step<T: Real>(decay: f64, average: &[T], params: &[T]) -> Vec<T> {
    let mix = |(&a, &p): (&T, &T)| T::from_f64(decay) * a + T::from_f64(1.0 - decay) * p;
    average.iter().zip(params).map(mix).collect()
}
