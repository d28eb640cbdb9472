//! Plain loops.

use engine::Real;

/// `plane` is the number of pixels of one channel.
pub(super) fn forward<T: Real>(x: &[T], mean: &[f32], std: &[f32], plane: usize) -> Vec<T> {
    let channel = |i: usize| i / plane % mean.len();
    (0..x.len()).map(|i| (x[i] - T::from_f32(mean[channel(i)])) / T::from_f32(std[channel(i)])).collect()
}

/// Returns dx.
pub(super) fn backward<T: Real>(std: &[f32], plane: usize, dy: &[T]) -> Vec<T> {
    (0..dy.len()).map(|i| dy[i] / T::from_f32(std[i / plane % std.len()])).collect()
}
