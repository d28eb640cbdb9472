//! Plain loops.

use engine::Real;

pub(super) fn step<T: Real>(delta: &mut [T], g: &[T], x: &[T], eps: T, alpha: T, active: &[T]) {
    let width = delta.len() / active.len();
    for i in 0..delta.len() {
        if active[i / width] == T::ZERO {
            continue;
        }
        let mut d = delta[i];
        if g[i] > T::ZERO {
            d += alpha;
        }
        if g[i] < T::ZERO {
            d -= alpha;
        }
        d = if d > eps { eps } else { d };
        d = if d < -eps { -eps } else { d };
        d = if d < T::ZERO - x[i] { T::ZERO - x[i] } else { d };
        delta[i] = if d > T::ONE - x[i] { T::ONE - x[i] } else { d };
    }
}
