//! The rule for one sample.

use engine::Real;

use super::Limit;
use crate::common::progress::Ball;

pub(super) fn look<T: Real>(ball: Ball, limit: Limit, [delta, nearest, row]: [&mut [T]; 3], margin: T) {
    let of = |value: f64| T::from_f64(value);
    if row[1] != of(1.0) {
        return;
    }
    if margin > of(0.0) {
        let length = norm(ball, delta);
        if length < row[3] {
            row[3] = length;
            nearest.copy_from_slice(delta);
        }
        for value in delta {
            *value = of(0.9) * *value;
        }
    }
    row[2] += of(1.0);
    let found = row[3] <= row[0];
    let last = row[2] == of(f64::from(limit.steps));
    row[1] = match (found, last) {
        (true, _) if last || limit.stop => of(2.0),
        (_, true) => of(3.0),
        _ => of(1.0),
    };
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
