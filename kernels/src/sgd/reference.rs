//! Plain loops.

use engine::Real;

use super::Sgd;

/// One step in place; `decay` is that of each element.
pub(super) fn step<T: Real>(options: &Sgd, decay: &[f64], p: &mut [T], u: &mut [T], g: &[T], lr: T, clip: T) {
    if !clip.is_finite() || clip == T::ZERO {
        return;
    }
    let mu = T::from_f64(options.momentum);
    for i in 0..p.len() {
        let g = clip * g[i] + T::from_f64(decay[i]) * p[i];
        u[i] = mu * u[i] + g;
        p[i] -= lr * if options.nesterov { g + mu * u[i] } else { u[i] };
    }
}
