//! Plain loops.

use engine::Real;

pub(super) fn step<T: Real>(delta: &mut [T], g: &[T], x: &[T], eps: T, alpha: T, active: &[T]) {
    let width = delta.len() / active.len();
    for sample in (0..active.len()).filter(|&sample| active[sample] != T::ZERO) {
        let range = sample * width..(sample + 1) * width;
        let (delta, g, x) = (&mut delta[range.clone()], &g[range.clone()], &x[range]);
        let length = norm(g);
        if length.is_finite() {
            for i in 0..width {
                delta[i] += alpha * g[i] / (length + T::from_f64(super::TINY));
            }
        }
        let length = norm(delta);
        for i in 0..width {
            if length > eps {
                delta[i] = delta[i] * eps / length;
            }
            delta[i] = delta[i].max(T::ZERO - x[i]).min(T::ONE - x[i]);
        }
    }
}

fn norm<T: Real>(x: &[T]) -> T {
    x.iter().map(|&x| x * x).sum::<T>().sqrt()
}
