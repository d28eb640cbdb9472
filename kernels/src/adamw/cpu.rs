//! Blocks over the threads, each cut where the weight decay changes.

use engine::{Error, Result, UpdateIo};

use super::{AdamW, NAME};
use crate::common::flat::{BLOCK, block, clip_factor, scalar_at};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::simd::simd;

/// The step's numbers in the element type.
#[derive(Clone, Copy)]
struct Factors<T> {
    clip: T,
    b1: T,
    b2: T,
    /// 1 - b1 and 1 - b2, rounded from f64: in f32, 1 - .999 would lose four digits.
    from_g: T,
    from_g2: T,
    /// lr / (1 - b1^t).
    step: T,
    /// 1 / sqrt(1 - b2^t).
    root: T,
    eps: T,
}

pub(super) fn run<T: Float>(options: &AdamW, io: UpdateIo) -> Result<()> {
    let g = io.inputs[0].host::<T>()?;
    let lr = scalar_at::<T>(&io.inputs[1], 0)?;
    let Some(clip) = clip_factor::<T>(&io.inputs[2])? else { return Ok(()) };
    let [p, m, v, steps] = io.state else { return Err(Error::new(NAME, "needs four states")) };
    let [steps] = steps.host::<u32>()? else { return Err(Error::new(NAME, "needs one step counter")) };
    *steps = steps.saturating_add(1);
    let factors = Factors::new(options, lr, clip, *steps);
    let states = (blocks(p.host::<T>()?, BLOCK), blocks(m.host::<T>()?, BLOCK), blocks(v.host::<T>()?, BLOCK));
    for_each_block(states, |i, (p, m, v)| {
        for (range, decay) in options.decay.within(i * BLOCK, p.len()) {
            let shrink = T::ONE - lr * T::from_f64(decay);
            let g = &block(g, i)[range.clone()];
            step(&mut p[range.clone()], &mut m[range.clone()], &mut v[range], g, shrink, factors);
        }
    });
    Ok(())
}

impl<T: Float> Factors<T> {
    fn new(options: &AdamW, lr: T, clip: T, t: u32) -> Self {
        let (b1, b2) = options.betas;
        let rest = |beta: f64| 1.0 - beta.powi(i32::try_from(t).unwrap_or(i32::MAX));
        Self {
            clip,
            b1: T::from_f64(b1),
            b2: T::from_f64(b2),
            from_g: T::from_f64(1.0 - b1),
            from_g2: T::from_f64(1.0 - b2),
            step: T::from_f64(lr.to_f64() / rest(b1)),
            root: T::from_f64(1.0 / rest(b2).sqrt()),
            eps: T::from_f64(options.eps),
        }
    }
}

simd! {
    fn step<T: Float>(p: &mut [T], m: &mut [T], v: &mut [T], g: &[T], shrink: T, f: Factors<T>) {
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = f.clip * g;
            *m = f.b1 * *m + f.from_g * g;
            *v = f.b2 * *v + f.from_g2 * (g * g);
            *p = *p * shrink - f.step * *m / (v.sqrt() * f.root + f.eps);
        }
    }
}
