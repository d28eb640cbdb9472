//! Plain loops.

use engine::Real;
use engine::rng::Philox;

use super::Start;

pub(super) fn draw<T: Real>(start: Start, philox: Philox, ids: &[u32], x: &[T], eps: T) -> Vec<T> {
    let width = x.len() / ids.len();
    let mut delta = Vec::new();
    for (&id, x) in ids.iter().zip(x.chunks(width)) {
        let normals: Vec<T> = (0..width).map(|i| T::from_f32(philox.normal(id, i))).collect();
        let norm = normals.iter().map(|&n| n * n).sum::<T>().sqrt();
        for i in 0..width {
            let d = match start {
                Start::Zero => T::ZERO,
                Start::Uniform => eps * T::from_f32(2.0 * philox.uniform(id, i) - 1.0),
                Start::Normal(std) => T::from_f32(std) * normals[i],
                Start::L2 if norm > T::ZERO => eps * T::from_f32(philox.uniform(id, width)) * normals[i] / norm,
                Start::L2 => T::ZERO,
            };
            delta.push(d.max(T::ZERO - x[i]).min(T::ONE - x[i]));
        }
    }
    delta
}
