//! Samples over the threads.

use engine::{Error, Result, UpdateIo};

use super::{B1, B2, EPS, NAME};
use crate::common::flat::scalar_at;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::simd::simd;
use crate::common::specs::per_sample_elements;

/// The step's numbers in the element type.
#[derive(Clone, Copy)]
struct Factors<T> {
    b1: T,
    b2: T,
    /// 1 - b1 and 1 - b2, rounded from f64: in f32, 1 - .999 would lose four digits.
    from_g: T,
    from_g2: T,
    step: T,
    root: T,
    eps: T,
}

pub(super) fn run<T: Float>(io: UpdateIo) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (g, low, high) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.inputs[2].host::<T>()?);
    let [step, root] = [scalar_at::<T>(&io.inputs[3], 0)?, scalar_at::<T>(&io.inputs[3], 1)?];
    let active = io.inputs[4].host::<T>()?;
    let [from_g, from_g2, eps] = [1.0 - B1, 1.0 - B2, EPS].map(T::from_f64);
    let factors = Factors { b1: T::from_f64(B1), b2: T::from_f64(B2), from_g, from_g2, step, root, eps };
    let [x, m, v] = io.state else { return Err(Error::new(NAME, "needs three states")) };
    let states = (blocks(x.host::<T>()?, width), blocks(m.host::<T>()?, width), blocks(v.host::<T>()?, width));
    for_each_block(states, |sample, (x, m, v)| {
        if active[sample] != T::ZERO {
            let at = sample * width..(sample + 1) * width;
            advance(x, m, v, &g[at.clone()], &low[at.clone()], &high[at], factors);
        }
    });
    Ok(())
}

simd! {
    fn advance<T: Float>(x: &mut [T], m: &mut [T], v: &mut [T], g: &[T], low: &[T], high: &[T], f: Factors<T>) {
        for (((((x, m), v), &g), &low), &high) in x.iter_mut().zip(m).zip(v).zip(g).zip(low).zip(high) {
            let g = if g.is_finite() { g } else { T::ZERO };
            *m = f.b1 * *m + f.from_g * g;
            *v = f.b2 * *v + f.from_g2 * (g * g);
            *x = (*x + f.step * *m / (v.sqrt() * f.root + f.eps)).max(low).min(high);
        }
    }
}
