//! Samples over the threads.

use engine::{Result, UpdateIo};

use super::TINY;
use crate::common::attack::{for_active, into_box};
use crate::common::flat::sum_squares;
use crate::common::math::Float;
use crate::common::simd::simd;

pub(super) fn run<T: Float>(io: UpdateIo) -> Result<()> {
    for_active::<T>(io, |delta, g, x, eps, alpha| {
        let norm = sum_squares(g).sqrt();
        if norm.is_finite() {
            advance(delta, g, T::from_f64(alpha.to_f64() / (norm + TINY)));
        }
        let norm = sum_squares(delta).sqrt();
        let shrink = if norm > eps.to_f64() { T::from_f64(eps.to_f64() / norm) } else { T::ONE };
        project(delta, x, shrink);
    })
}

simd! {
    fn advance<T: Float>(delta: &mut [T], g: &[T], factor: T) {
        for (delta, &g) in delta.iter_mut().zip(g) {
            *delta += factor * g;
        }
    }

    fn project<T: Float>(delta: &mut [T], x: &[T], shrink: T) {
        for (delta, &x) in delta.iter_mut().zip(x) {
            *delta = into_box(*delta * shrink, x);
        }
    }
}
