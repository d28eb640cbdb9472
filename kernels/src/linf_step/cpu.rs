//! Samples over the threads.

use engine::{Result, UpdateIo};

use crate::common::attack::{for_active, into_box};
use crate::common::math::Float;
use crate::common::simd::simd;

pub(super) fn run<T: Float>(io: UpdateIo) -> Result<()> {
    for_active(io, step::<T>)
}

simd! {
    fn step<T: Float>(delta: &mut [T], g: &[T], x: &[T], eps: T, alpha: T) {
        for ((delta, &g), &x) in delta.iter_mut().zip(g).zip(x) {
            let moved = *delta + alpha * g.sign0();
            *delta = into_box(moved.max(-eps).min(eps), x);
        }
    }
}
