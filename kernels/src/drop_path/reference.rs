//! Plain loops.

use engine::Real;
use engine::rng::Philox;

/// The same map forward and backward: samples that are kept, scaled; zeros elsewhere.
pub(super) fn masked<T: Real>(philox: &Philox, ids: &[u32], rate: f32, x: &[T]) -> Vec<T> {
    let per_sample = x.len() / ids.len();
    let keep = 1.0 - rate;
    let kept = |i: usize| philox.uniform(ids[i / per_sample], 0) < keep;
    (0..x.len()).map(|i| if kept(i) { x[i] / T::from_f32(keep) } else { T::ZERO }).collect()
}
