//! Plain loops.

use engine::Real;

pub(super) fn step<T: Real>(velocity: &mut [T], g: &[T], decay: T, samples: usize) {
    let width = g.len() / samples;
    for sample in 0..samples {
        let mean = g[sample * width..(sample + 1) * width].iter().map(|g| g.abs()).sum::<T>() / T::from_usize(width);
        for i in sample * width..(sample + 1) * width {
            let moved = decay * velocity[i];
            velocity[i] = if mean > T::ZERO && mean.is_finite() { moved + g[i] / mean } else { moved };
        }
    }
}
