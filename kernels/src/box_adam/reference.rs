//! Plain loops.

use engine::Real;

use super::{B1, B2, EPS};

/// x, m and v of one sample.
pub(super) fn step<T: Real>([x, m, v]: [&mut [T]; 3], [g, low, high]: [&[T]; 3], rates: &[T]) {
    for i in 0..x.len() {
        let g = if g[i].is_finite() { g[i] } else { T::ZERO };
        m[i] = T::from_f64(B1) * m[i] + T::from_f64(1.0 - B1) * g;
        v[i] = T::from_f64(B2) * v[i] + T::from_f64(1.0 - B2) * g * g;
        let moved = x[i] + rates[0] * m[i] / (v[i].sqrt() * rates[1] + T::from_f64(EPS));
        let moved = if moved < low[i] { low[i] } else { moved };
        x[i] = if moved > high[i] { high[i] } else { moved };
    }
}
