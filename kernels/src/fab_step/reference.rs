//! Plain loops over one sample; projections by sorting.

use std::cmp::Ordering;

use engine::Real;

use crate::common::progress::Ball;

pub(super) fn step<T: Real>(ball: Ball, delta: &mut [T], w: &[T], x: &[T], difference: T) {
    let of = |value: f64| T::from_f64(value);
    let point: Vec<T> = x.iter().zip(&*delta).map(|(&x, &d)| x + d).collect();
    let mut from_x = difference;
    for i in 0..w.len() {
        from_x -= w[i] * delta[i];
    }
    let (d1, d2) = (project(ball, &point, w, difference), project(ball, x, w, from_x));
    let least = |v: T| if v > of(1e-8) { v } else { of(1e-8) };
    let (a1, a2) = (least(norm(ball, &d1)), least(norm(ball, &d2)));
    let a = a1 / (a1 + a2);
    let a = if a < of(0.1) { a } else { of(0.1) };
    for i in 0..w.len() {
        let next = (of(1.0) - a) * (delta[i] + of(1.05) * d1[i]) + a * (of(1.05) * d2[i]);
        let (low, high) = (of(0.0) - x[i], of(1.0) - x[i]);
        delta[i] = if next < low {
            low
        } else if next > high {
            high
        } else {
            next
        };
    }
}

fn norm<T: Real>(ball: Ball, v: &[T]) -> T {
    let mut result = T::ZERO;
    for &value in v {
        let size = if value < T::ZERO { -value } else { value };
        result = match ball {
            Ball::L2 => result + value * value,
            Ball::Linf if size > result => size,
            Ball::Linf => result,
        };
    }
    if ball == Ball::L2 { T::from_f64(result.to_f64().sqrt()) } else { result }
}

/// The shortest way from `point` into the plane where f, there `f` with gradient `w`, is 0, within [0, 1]; to the walls if it is out of
/// reach.
fn project<T: Real>(ball: Ball, point: &[T], w: &[T], f: T) -> Vec<T> {
    let size = |v: T| if v < T::ZERO { -v } else { v };
    let rises = |i: usize| (w[i] > T::ZERO) == (f < T::ZERO);
    let room = |i: usize| {
        let room = if rises(i) { T::ONE - point[i] } else { point[i] };
        if room > T::ZERO { room } else { T::ZERO }
    };
    let rate = |i: usize| if ball == Ball::L2 { size(w[i]) } else { T::ONE };
    let mut order: Vec<usize> = (0..w.len()).filter(|&i| w[i] != T::ZERO).collect();
    order.sort_by(|&a, &b| (room(a) / rate(a)).partial_cmp(&(room(b) / rate(b))).unwrap_or(Ordering::Equal));
    let (mut left, mut free) = (size(f), T::ZERO);
    for &i in &order {
        free += size(w[i]) * rate(i);
    }
    let mut t = None;
    for &i in &order {
        if left <= free * (room(i) / rate(i)) {
            t = Some(left / free);
            break;
        }
        left -= size(w[i]) * room(i);
        free -= size(w[i]) * rate(i);
    }
    let mut d = vec![T::ZERO; w.len()];
    for i in order {
        let way = t.map_or(room(i), |t| t * rate(i));
        let way = if way < room(i) { way } else { room(i) };
        d[i] = if rises(i) { way } else { -way };
    }
    d
}
