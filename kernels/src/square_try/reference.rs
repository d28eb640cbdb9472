//! Plain loops over one sample, after the published steps: masks over whole planes.

use engine::Real;
use engine::rng::Philox;

use super::Ball;

pub(super) struct Sample<'a, T> {
    pub best: &'a [T],
    pub image: &'a [T],
    pub eps: T,
    pub judged: u32,
    pub id: u32,
    pub philox: Philox,
    pub dims: [usize; 3],
}

impl<T: Real> Sample<'_, T> {
    fn uniform(&self, at: usize) -> f64 {
        f64::from(self.philox.uniform(self.id, at))
    }

    fn sign(&self, at: usize) -> T {
        T::from_f64(if self.uniform(at) < 0.5 { -1.0 } else { 1.0 })
    }

    fn clamp(&self, value: T, i: usize) -> T {
        let (low, high) = (T::ZERO - self.image[i], T::ONE - self.image[i]);
        if value < low {
            low
        } else if value > high {
            high
        } else {
            value
        }
    }

    fn window(&self, words: [usize; 2], side: usize) -> [usize; 2] {
        let [_, h, w] = self.dims;
        [(words[0], h), (words[1], w)].map(|(word, size)| {
            (0..size).rev().find(|&place| place as f64 <= self.uniform(word) * (size - side) as f64).unwrap_or(0)
        })
    }
}

fn share(i: u32) -> f64 {
    let mut p = 0.8;
    for end in [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000] {
        p = if i > end { p / 2.0 } else { p };
    }
    p
}

pub(super) fn propose<T: Real>(ball: Ball, sample: &Sample<T>) -> Vec<T> {
    let [_, h, w] = sample.dims;
    let pixels = (h * w) as f64;
    let Some(i) = sample.judged.checked_sub(1) else {
        return if ball == Ball::Linf { stripes(sample) } else { tiles(sample) };
    };
    let side = (share(i) * pixels).sqrt().round_ties_even();
    if ball == Ball::Linf {
        return square(sample, (side.max(1.0) as usize).min(h).min(w));
    }
    let side = if side.max(3.0) % 2.0 == 0.0 { side.max(3.0) + 1.0 } else { side.max(3.0) };
    move_window(sample, (side as usize).min(h).min(w))
}

fn stripes<T: Real>(sample: &Sample<T>) -> Vec<T> {
    let [_, h, w] = sample.dims;
    let value = |i: usize| sample.eps * sample.sign(16 + i / (h * w) * w + i % w);
    (0..sample.image.len()).map(|i| sample.clamp(value(i), i)).collect()
}

fn square<T: Real>(sample: &Sample<T>, side: usize) -> Vec<T> {
    let [_, h, w] = sample.dims;
    let [top, left] = sample.window([0, 1], side);
    let mut trial = sample.best.to_vec();
    for i in 0..trial.len() {
        let (channel, row, column) = (i / (h * w), i / w % h, i % w);
        if row >= top && row < top + side && column >= left && column < left + side {
            let value = trial[i] + T::from_f64(2.0) * sample.eps * sample.sign(8 + channel);
            let value = if value > sample.eps { sample.eps } else { value };
            trial[i] = sample.clamp(if value < -sample.eps { -sample.eps } else { value }, i);
        }
    }
    trial
}

fn norm<T: Real>(values: &[T]) -> T {
    T::from_f64(values.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt())
}

/// Nested windows added one after the other.
fn rectangle<T: Real>(rows: usize, columns: usize) -> Vec<T> {
    let mut values = vec![0.0_f64; rows * columns];
    let (mut top, mut left) = (rows as i64 / 2, columns as i64 / 2);
    for j in 0..(rows / 2 + 1).max(columns / 2 + 1) {
        for row in 0..rows as i64 {
            for column in 0..columns as i64 {
                let size = 2 * j as i64 + 1;
                if row >= top && row < top + size && column >= left && column < left + size {
                    values[row as usize * columns + column as usize] += 1.0 / ((j + 1) as f64 * (j + 1) as f64);
                }
            }
        }
        (top, left) = (top - 1, left - 1);
    }
    let length = norm(&values);
    values.into_iter().map(|value| T::from_f64(value / length)).collect()
}

fn pyramid<T: Real>(side: usize, transposed: bool) -> Vec<T> {
    let mut values: Vec<T> = if side > 1 { rectangle(side / 2, side) } else { Vec::new() };
    values.extend(rectangle::<T>(side - side / 2, side).into_iter().map(|value| -value));
    let length = norm(&values);
    let at = |i: usize| if transposed { i % side * side + i / side } else { i };
    (0..values.len()).map(|i| values[at(i)] / length).collect()
}

fn scaled<T: Real>(sample: &Sample<T>, delta: &[T]) -> Vec<T> {
    let length = norm(delta) + T::from_f64(1e-12);
    (0..delta.len()).map(|i| sample.clamp(delta[i] / length * sample.eps, i)).collect()
}

fn tiles<T: Real>(sample: &Sample<T>) -> Vec<T> {
    let [c, h, w] = sample.dims;
    let side = (h / 5).max(1);
    let start = if h > side * 5 { (h - side * 5) / 2 } else { 0 };
    let along = |size: usize| (size / side).min((size - start) / side);
    let mut delta = vec![T::ZERO; sample.image.len()];
    let count = along(h) * along(w);
    for tile in 0..count {
        let shape = pyramid::<T>(side, sample.uniform(16 + count * c + tile) >= 0.5);
        for channel in 0..c {
            for i in 0..side * side {
                let row = start + tile / along(w) * side + i / side;
                let column = start + tile % along(w) * side + i % side;
                delta[(channel * h + row) * w + column] += sample.sign(16 + tile * c + channel) * shape[i];
            }
        }
    }
    scaled(sample, &delta)
}

fn move_window<T: Real>(sample: &Sample<T>, side: usize) -> Vec<T> {
    let [c, h, w] = sample.dims;
    let (to, from) = (sample.window([0, 1], side), sample.window([2, 3], side));
    let shape = pyramid::<T>(side, sample.uniform(4) >= 0.5);
    let inside = |[top, left]: [usize; 2], i: usize| {
        let (row, column) = (i / w % h, i % w);
        row >= top && row < top + side && column >= left && column < left + side
    };
    let mut delta = sample.best.to_vec();
    let all = norm(&delta);
    for channel in 0..c {
        let plane = channel * h * w..(channel + 1) * h * w;
        let taken: Vec<T> = plane.clone().filter(|&i| inside(to, i)).map(|i| sample.best[i]).collect();
        let either: Vec<T> =
            plane.clone().filter(|&i| inside(to, i) || inside(from, i)).map(|i| sample.best[i]).collect();
        let mut new = Vec::new();
        for i in 0..side * side {
            new.push(shape[i] * sample.sign(8 + channel) + taken[i] / (T::from_f64(1e-12) + norm(&taken)));
        }
        let spare = sample.eps * sample.eps - all * all;
        let spare = if spare > T::ZERO { spare } else { T::ZERO };
        let budget = spare / T::from_f64(c as f64) + norm(&either) * norm(&either);
        let length = norm(&new) + T::from_f64(1e-12);
        for i in plane.clone().filter(|&i| inside(from, i)) {
            delta[i] = T::ZERO;
        }
        for (place, i) in plane.filter(|&i| inside(to, i)).enumerate() {
            delta[i] = new[place] / length * T::from_f64(budget.to_f64().sqrt());
        }
    }
    scaled(sample, &delta)
}
