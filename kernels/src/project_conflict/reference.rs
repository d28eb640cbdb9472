//! Plain loops. Both gradients are measured in units of their largest magnitudes: products of tiny ones are no f32.

use engine::Real;

fn largest<T: Real>(x: &[T]) -> T {
    let most = x.iter().fold(T::ZERO, |most, &x| Real::max(most, x.abs()));
    if most > T::ZERO { most } else { T::ONE }
}

/// One sample.
pub(super) fn forward<T: Real>(sum: &[T], g: &[T], h: &[T], weight: T, published: bool) -> Vec<T> {
    let (unit_g, unit_h) = (largest(g), largest(h));
    let mut product = T::ZERO;
    let mut squares = T::ZERO;
    for i in 0..g.len() {
        product += h[i] / unit_h * (g[i] / unit_g);
        squares += g[i] / unit_g * (g[i] / unit_g);
    }
    let divisor = if published { squares.sqrt() / unit_g } else { squares };
    let c = if product < T::ZERO { product / divisor * unit_h } else { T::ZERO };
    (0..g.len()).map(|i| sum[i] + weight * (h[i] - c * (g[i] / unit_g))).collect()
}
