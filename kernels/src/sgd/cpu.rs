//! Blocks over the threads, each cut where the weight decay changes.

use engine::{Result, UpdateIo};

use super::Sgd;
use crate::common::flat::{BLOCK, block, clip_factor, scalar_at};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::simd::simd;

/// The step's numbers in the element type.
#[derive(Clone, Copy)]
struct Factors<T> {
    lr: T,
    clip: T,
    decay: T,
    mu: T,
}

pub(super) fn run<T: Float>(options: &Sgd, io: UpdateIo) -> Result<()> {
    let g = io.inputs[0].host::<T>()?;
    let lr = scalar_at::<T>(&io.inputs[1], 0)?;
    let Some(clip) = clip_factor::<T>(&io.inputs[2])? else { return Ok(()) };
    let mu = T::from_f64(options.momentum);
    let factors = |decay| Factors { lr, clip, decay: T::from_f64(decay), mu };
    match io.state {
        [p] => for_each_block(blocks(p.host::<T>()?, BLOCK), |i, p| {
            for (range, decay) in options.decay.within(i * BLOCK, p.len()) {
                descend(&mut p[range.clone()], &block(g, i)[range], factors(decay));
            }
        }),
        [p, u, ..] => {
            for_each_block((blocks(p.host::<T>()?, BLOCK), blocks(u.host::<T>()?, BLOCK)), |i, (p, u)| {
                for (range, decay) in options.decay.within(i * BLOCK, p.len()) {
                    let (p, u, g) = (&mut p[range.clone()], &mut u[range.clone()], &block(g, i)[range]);
                    if options.nesterov {
                        nesterov(p, u, g, factors(decay));
                    } else {
                        momentum(p, u, g, factors(decay));
                    }
                }
            });
        }
        [] => {}
    }
    Ok(())
}

simd! {
    fn descend<T: Float>(p: &mut [T], g: &[T], f: Factors<T>) {
        for (p, &g) in p.iter_mut().zip(g) {
            *p -= f.lr * (f.clip * g + f.decay * *p);
        }
    }

    fn momentum<T: Float>(p: &mut [T], u: &mut [T], g: &[T], f: Factors<T>) {
        for ((p, u), &g) in p.iter_mut().zip(u).zip(g) {
            *u = f.mu * *u + (f.clip * g + f.decay * *p);
            *p -= f.lr * *u;
        }
    }

    fn nesterov<T: Float>(p: &mut [T], u: &mut [T], g: &[T], f: Factors<T>) {
        for ((p, u), &g) in p.iter_mut().zip(u).zip(g) {
            let g = f.clip * g + f.decay * *p;
            *u = f.mu * *u + g;
            *p -= f.lr * (g + f.mu * *u);
        }
    }
}
