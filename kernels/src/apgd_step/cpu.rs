//! Samples over the threads.

use engine::{Error, Result, UpdateIo};

use super::{MOMENTUM, NAME, TINY};
use crate::apgd_check::{ACTION, BACK, BEST, COLUMNS, ETA, FOOLS, STEP};
use crate::common::attack::into_box;
use crate::common::flat::sum_squares;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::progress::{Ball, EPS, STEPS};
use crate::common::simd::simd;
use crate::common::specs::per_sample_elements;

pub(super) fn run<T: Float>(ball: Ball, io: UpdateIo) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (gradients, images) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    let progress = io.inputs[2].host::<T>()?;
    let [delta, before, best, best_gradient, fooling] = io.state else {
        return Err(Error::new(NAME, "needs five states"));
    };
    let first = (blocks(delta.host::<T>()?, width), blocks(before.host::<T>()?, width));
    let second = (blocks(best.host::<T>()?, width), blocks(best_gradient.host::<T>()?, width));
    let states = ((first, second), blocks(fooling.host::<T>()?, width));
    for_each_block(states, |sample, (((delta, before), (best, best_gradient)), fooling)| {
        let at = sample * width..(sample + 1) * width;
        let (gradient, image) = (&gradients[at.clone()], &images[at]);
        let Ok(row) = <&[T; COLUMNS]>::try_from(&progress[sample * COLUMNS..(sample + 1) * COLUMNS]) else { return };
        let says = |bit: u32| (1..16).any(|sum: u32| sum & bit != 0 && row[ACTION] == T::from_f64(f64::from(sum)));
        if says(FOOLS) {
            fooling.copy_from_slice(delta);
        }
        if says(BEST) {
            best.copy_from_slice(delta);
            best_gradient.copy_from_slice(gradient);
        }
        if !says(STEP) {
            return;
        }
        let mut slope = gradient;
        if says(BACK) {
            delta.copy_from_slice(best);
            slope = best_gradient;
        }
        // The row counts this step already.
        let share = if row[STEPS] == T::ONE { T::ONE } else { T::from_f64(MOMENTUM) };
        match ball {
            Ball::Linf => step_linf(delta, before, slope, image, row[EPS], row[ETA], share),
            Ball::L2 => step_l2(delta, before, slope, image, row[EPS], row[ETA], share),
        }
    });
    Ok(())
}

simd! {
    fn step_linf<T: Float>(delta: &mut [T], before: &mut [T], g: &[T], x: &[T], eps: T, eta: T, share: T) {
        let rest = T::ONE - share;
        for (((delta, before), &g), &x) in delta.iter_mut().zip(before).zip(g).zip(x) {
            let place = |moved: T| into_box(moved.max(-eps).min(eps), x);
            let here = *delta;
            let u = place(here + eta * g.sign0());
            *delta = place(here + (u - here) * share + (here - *before) * rest);
            *before = here;
        }
    }

    fn step_l2<T: Float>(delta: &mut [T], before: &mut [T], g: &[T], x: &[T], eps: T, eta: T, share: T) {
        let slope = sum_squares(g).sqrt();
        let factor = if slope.is_finite() { T::from_f64(eta.to_f64() / (slope + TINY)) } else { T::ZERO };
        // 0 times a gradient that is not finite would be NaN.
        let moved = |here: T, g: T| if factor == T::ZERO { here } else { here + factor * g };
        let length = norm(delta.iter().zip(g).map(|(&here, &g)| moved(here, g)));
        let shrink = shrinking(length, eps);
        let rest = T::ONE - share;
        let mixed = |here: T, before: T, g: T, x: T| {
            let u = into_box(moved(here, g) * shrink, x);
            here + (u - here) * share + (here - before) * rest
        };
        let operands = delta.iter().zip(&*before).zip(g).zip(x);
        let length = norm(operands.map(|(((&here, &before), &g), &x)| mixed(here, before, g, x)));
        let shrink = shrinking(length, eps);
        for (((delta, before), &g), &x) in delta.iter_mut().zip(before).zip(g).zip(x) {
            let here = *delta;
            *delta = into_box(mixed(here, *before, g, x) * shrink, x);
            *before = here;
        }
    }
}

/// The factor that projects a vector of this length on the ball.
fn shrinking<T: Float>(length: f64, eps: T) -> T {
    T::from_f64(length.min(eps.to_f64()) / (length + TINY))
}

/// Euclidean length, summed in f64 in order.
#[inline(always)]
fn norm<T: Float>(values: impl Iterator<Item = T>) -> f64 {
    values.map(|value| value.to_f64() * value.to_f64()).sum::<f64>().sqrt()
}
