//! Plain loops.

use engine::Real;

use crate::common::progress::Ball;

/// States of all samples.
pub(super) struct States<T> {
    pub gradient: Vec<T>,
    pub difference: Vec<T>,
    pub distance: Vec<T>,
}

pub(super) fn choose<T: Real>(ball: Ball, class: i32, states: &mut States<T>, g: &[T], f: &[T], labels: &[i32]) {
    let width = g.len() / f.len();
    for i in 0..f.len() {
        if class == 0 {
            states.distance[i] = T::from_f64(1e30);
        }
        let mut norm = 0.0;
        for value in &g[i * width..(i + 1) * width] {
            norm += if ball == Ball::L2 { value.to_f64().powi(2) } else { value.to_f64().abs() };
        }
        let norm = if ball == Ball::L2 { norm.sqrt() } else { norm };
        let distance = T::from_f64(f[i].to_f64().abs() / (norm + 1e-12));
        if labels[i] != class && distance < states.distance[i] {
            states.distance[i] = distance;
            states.difference[i] = f[i];
            states.gradient[i * width..(i + 1) * width].copy_from_slice(&g[i * width..(i + 1) * width]);
        }
    }
}
