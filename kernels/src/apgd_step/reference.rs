//! Plain loops over one sample.

use engine::Real;

use crate::common::progress::Ball;

/// What a sample keeps.
pub(super) struct Sample<'a, T> {
    pub delta: &'a mut [T],
    pub before: &'a mut [T],
    pub best: &'a mut [T],
    pub best_gradient: &'a mut [T],
    pub fooling: &'a mut [T],
}

pub(super) fn step<T: Real>(ball: Ball, sample: Sample<T>, g: &[T], x: &[T], row: &[T]) {
    let Sample { delta, before, best, best_gradient, fooling } = sample;
    let (eps, eta, action) = (row[0], row[3], row[11].to_f64());
    let bit = |value: f64| (action / value).floor() % 2.0 == 1.0;
    if bit(2.0) {
        fooling.copy_from_slice(delta);
    }
    if bit(1.0) {
        best.copy_from_slice(delta);
        best_gradient.copy_from_slice(g);
    }
    if !bit(4.0) {
        return;
    }
    let (here, slope) = if bit(8.0) { (best.to_vec(), best_gradient.to_vec()) } else { (delta.to_vec(), g.to_vec()) };
    let a = if row[2] == T::ONE { T::ONE } else { T::from_f64(0.75) };
    let mut u = here.clone();
    match ball {
        Ball::Linf => {
            for i in 0..u.len() {
                let sign = f64::from(u8::from(slope[i] > T::ZERO)) - f64::from(u8::from(slope[i] < T::ZERO));
                u[i] += eta * T::from_f64(sign);
            }
        }
        Ball::L2 => {
            let length = length(&slope);
            for i in 0..u.len() {
                if length.is_finite() {
                    u[i] += eta / (T::from_f64(length) + T::from_f64(1e-12)) * slope[i];
                }
            }
        }
    }
    project(ball, &mut u, x, eps);
    for i in 0..u.len() {
        u[i] = here[i] + a * (u[i] - here[i]) + (T::ONE - a) * (here[i] - before[i]);
    }
    project(ball, &mut u, x, eps);
    before.copy_from_slice(&here);
    delta.copy_from_slice(&u);
}

fn length<T: Real>(v: &[T]) -> f64 {
    let mut sum = 0.0;
    for value in v {
        sum += value.to_f64() * value.to_f64();
    }
    sum.sqrt()
}

/// Into the ball, then into the box.
fn project<T: Real>(ball: Ball, v: &mut [T], x: &[T], eps: T) {
    let norm = T::from_f64(length(v));
    let least = if norm < eps { norm } else { eps };
    for i in 0..v.len() {
        v[i] = match ball {
            Ball::L2 => v[i] * (least / (norm + T::from_f64(1e-12))),
            Ball::Linf if v[i] > eps => eps,
            Ball::Linf if v[i] < -eps => -eps,
            Ball::Linf => v[i],
        };
        let (low, high) = (T::ZERO - x[i], T::ONE - x[i]);
        v[i] = if v[i] < low { low } else { v[i] };
        v[i] = if v[i] > high { high } else { v[i] };
    }
}
