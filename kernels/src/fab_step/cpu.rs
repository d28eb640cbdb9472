//! Samples over the threads.

use engine::{Error, Result, UpdateIo};

use super::{LEAST, MOST, NAME, PAST, ROUNDS};
use crate::common::attack::into_box;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::progress::{Ball, RUNNING, STATUS};
use crate::common::simd::simd;
use crate::common::specs::per_sample_elements;
use crate::fab_look::COLUMNS;

pub(super) fn run<T: Float>(ball: Ball, io: UpdateIo) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (gradients, differences) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    let (images, progress) = (io.inputs[2].host::<T>()?, io.inputs[3].host::<T>()?);
    let [delta] = io.state else { return Err(Error::new(NAME, "needs one state")) };
    for_each_block(blocks(delta.host::<T>()?, width), |sample, delta| {
        if progress[sample * COLUMNS + STATUS] == T::from_f64(f64::from(RUNNING)) {
            let at = sample * width..(sample + 1) * width;
            step(ball, delta, &gradients[at.clone()], &images[at], differences[sample].to_f64());
        }
    });
    Ok(())
}

fn step<T: Float>(ball: Ball, delta: &mut [T], w: &[T], x: &[T], difference: f64) {
    // The plane as seen from the clean image: f(x) = f(x1) - <w, delta>.
    let from_x = difference - dot(w, delta);
    let square = ball == Ball::L2;
    let here = Plane { w, x, delta: Some(&*delta), up: difference < 0.0, square };
    let there = Plane { w, x, delta: None, up: from_x < 0.0, square };
    let (t1, t2) = (here.reach(difference.abs()), there.reach(from_x.abs()));
    let (a1, a2) = (here.length(t1).max(LEAST), there.length(t2).max(LEAST));
    let a = T::from_f64((a1 / (a1 + a2)).min(MOST));
    let (up, down) = (here.up, there.up);
    mix(delta, w, x, [t1, t2].map(T::from_f64), [up, down], square, a);
}

/// A sample's room below and above a point, toward the plane.
struct Plane<'a, T> {
    w: &'a [T],
    x: &'a [T],
    /// The point is x plus this.
    delta: Option<&'a [T]>,
    /// Whether f has to rise.
    up: bool,
    /// Whether a coordinate's rate is |w| (L2), not 1.
    square: bool,
}

impl<T: Float> Plane<'_, T> {
    fn coordinates(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let offset = move |i: usize| self.delta.map_or(T::ZERO, |delta| delta[i]);
        (0..self.w.len()).map(move |i| {
            let (w, point) = (self.w[i], self.x[i] + offset(i));
            let weight = w.abs().to_f64();
            (weight, rate(weight, self.square), room(w, point, self.up).to_f64())
        })
    }

    /// How far to go so that f changes by `by`: the root t of `sum |w| min(t r, room) = by`; to all walls where there is not so much room.
    fn reach(&self, by: f64) -> f64 {
        let mut t = 0.0;
        for _ in 0..ROUNDS {
            let (mut free, mut filled) = (0.0, 0.0);
            for (weight, rate, room) in self.coordinates() {
                let saturated = room <= t * rate;
                free += if saturated { 0.0 } else { weight * rate };
                filled += if saturated { weight * room } else { 0.0 };
            }
            if free == 0.0 {
                return t;
            }
            let next = (by - filled) / free;
            if next <= t {
                return t;
            }
            t = next;
        }
        t
    }

    /// Norm of the way.
    fn length(&self, t: f64) -> f64 {
        let moves = self.coordinates().map(|(weight, rate, room)| if weight == 0.0 { 0.0 } else { room.min(t * rate) });
        if self.square { moves.map(|d| d * d).sum::<f64>().sqrt() } else { moves.fold(0.0, f64::max) }
    }
}

#[inline(always)]
fn rate(weight: f64, square: bool) -> f64 {
    if square { weight } else { 1.0 }
}

/// Distance of a pixel from the wall toward which it has to go for f to rise (`up`) or fall.
#[inline(always)]
fn room<T: Float>(w: T, point: T, up: bool) -> T {
    let room = if (w > T::ZERO) == up { T::ONE - point } else { point };
    room.max(T::ZERO)
}

/// The way of one pixel.
#[inline(always)]
fn way<T: Float>(w: T, point: T, up: bool, t: T, square: bool) -> T {
    if w == T::ZERO {
        return T::ZERO;
    }
    let length = room(w, point, up).min(if square { t * w.abs() } else { t });
    if (w > T::ZERO) == up { length } else { -length }
}

simd! {
    fn mix<T: Float>(delta: &mut [T], w: &[T], x: &[T], t: [T; 2], up: [bool; 2], square: bool, a: T) {
        let (past, rest) = (T::from_f64(PAST), T::ONE - a);
        for ((delta, &w), &x) in delta.iter_mut().zip(w).zip(x) {
            let d1 = way(w, x + *delta, up[0], t[0], square);
            let d2 = way(w, x, up[1], t[1], square);
            *delta = into_box((*delta + past * d1) * rest + past * d2 * a, x);
        }
    }
}

fn dot<T: Float>(w: &[T], v: &[T]) -> f64 {
    w.iter().zip(v).map(|(w, v)| w.to_f64() * v.to_f64()).sum()
}
