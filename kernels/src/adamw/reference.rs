//! Plain loops.

use engine::Real;

use super::AdamW;

/// One step in place, the `t`th (from 1); `decay` is that of each element.
pub(super) fn step<T: Real>(options: &AdamW, decay: &[f64], t: i32, state: [&mut [T]; 3], g: &[T], lr: T, clip: T) {
    let [p, m, v] = state;
    let (b1, b2) = options.betas;
    for i in 0..p.len() {
        let g = clip * g[i];
        p[i] *= T::ONE - lr * T::from_f64(decay[i]);
        m[i] = T::from_f64(b1) * m[i] + T::from_f64(1.0 - b1) * g;
        v[i] = T::from_f64(b2) * v[i] + T::from_f64(1.0 - b2) * g * g;
        let m_hat = m[i] / T::from_f64(1.0 - b1.powi(t));
        let v_hat = v[i] / T::from_f64(1.0 - b2.powi(t));
        p[i] -= lr * m_hat / (v_hat.sqrt() + T::from_f64(options.eps));
    }
}
