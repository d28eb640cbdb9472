//! Plain loops.

use engine::Real;
use engine::rng::Philox;

use super::{Distribution, Sharing};

fn scale(distribution: Distribution, philox: &Philox, sample: u32, element: usize) -> f32 {
    match distribution {
        Distribution::Uniform { half_width } => 1.0 - half_width + 2.0 * half_width * philox.uniform(sample, element),
        Distribution::Normal { std } => 1.0 + std * philox.normal(sample, element),
        Distribution::Bernoulli { variance } => {
            let q = 1.0 / (1.0 + variance);
            if philox.uniform(sample, element) < q { 1.0 / q } else { 0.0 }
        }
    }
}

/// The same map forward and backward: `x` is `[ids, n, h]`.
pub(super) fn scaled<T: Real>(
    distribution: Distribution,
    sharing: Sharing,
    philox: &Philox,
    ids: &[u32],
    h: usize,
    x: &[T],
) -> Vec<T> {
    let per_sample = x.len() / ids.len();
    let factor = |i: usize| match sharing {
        Sharing::Batch => scale(distribution, philox, 0, i % h),
        Sharing::PerImage => scale(distribution, philox, ids[i / per_sample], i % h),
        Sharing::PerToken => scale(distribution, philox, ids[i / per_sample], i % per_sample),
    };
    (0..x.len()).map(|i| T::from_f32(factor(i)) * x[i]).collect()
}
