//! Plain loops over rows.

use engine::Real;

/// (xhat, rstd) of one row.
fn normalised<T: Real>(x: &[T], eps: T) -> (Vec<T>, T) {
    let count = T::from_usize(x.len());
    let mean = x.iter().copied().sum::<T>() / count;
    let variance = x.iter().map(|&x| (x - mean) * (x - mean)).sum::<T>() / count;
    let rstd = T::ONE / (variance + eps).sqrt();
    (x.iter().map(|&x| (x - mean) * rstd).collect(), rstd)
}

pub(super) fn forward<T: Real>(x: &[T], weight: &[T], bias: &[T], eps: f32) -> Vec<T> {
    let mut y = Vec::with_capacity(x.len());
    for x in x.chunks_exact(weight.len()) {
        let (xhat, _) = normalised(x, T::from_f32(eps));
        y.extend((0..x.len()).map(|i| xhat[i] * weight[i] + bias[i]));
    }
    y
}

/// Returns (dx, dweight, dbias).
pub(super) fn backward<T: Real>(x: &[T], weight: &[T], eps: f32, dy: &[T]) -> (Vec<T>, Vec<T>, Vec<T>) {
    let width = weight.len();
    let count = T::from_usize(width);
    let (mut dx, mut d_weight, mut d_bias) = (Vec::new(), vec![T::ZERO; width], vec![T::ZERO; width]);
    for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
        let (xhat, rstd) = normalised(x, T::from_f32(eps));
        let g: Vec<T> = (0..width).map(|i| dy[i] * weight[i]).collect();
        let mean_g = g.iter().copied().sum::<T>() / count;
        let mean_gx = (0..width).map(|i| g[i] * xhat[i]).sum::<T>() / count;
        dx.extend((0..width).map(|i| rstd * (g[i] - mean_g - xhat[i] * mean_gx)));
        for i in 0..width {
            d_weight[i] += dy[i] * xhat[i];
            d_bias[i] += dy[i];
        }
    }
    (dx, d_weight, d_bias)
}
