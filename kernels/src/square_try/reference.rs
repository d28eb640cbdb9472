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
    /// The table of [`pyramids`](super::pyramids).
    pub pyramids: &'a [T],
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

/// How often the share of the pixels, .8 at first, was halved before proposal i.
fn halvings(i: u32) -> usize {
    [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000].iter().filter(|&&end| i > end).count()
}

/// Side of a square in L2.
fn side_of(share: f64, h: usize, w: usize) -> usize {
    (rounded(share, h, w).max(3) | 1).min(h).min(w)
}

fn rounded(share: f64, h: usize, w: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the larger side of the image")]
    let side = (share * (h * w) as f64).sqrt().round_ties_even() as usize;
    side
}

pub(super) fn propose<T: Real>(ball: Ball, sample: &Sample<T>) -> Vec<T> {
    let [_, h, w] = sample.dims;
    let Some(i) = sample.judged.checked_sub(1) else {
        return if ball == Ball::Linf { stripes(sample) } else { tiles(sample) };
    };
    let halvings = halvings(i);
    let share = 0.8 / f64::from(1 << halvings);
    if ball == Ball::Linf {
        return square(sample, rounded(share, h, w).max(1).min(h).min(w));
    }
    move_window(sample, halvings, side_of(share, h, w))
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
    for (i, pixel) in trial.iter_mut().enumerate() {
        let (channel, row, column) = (i / (h * w), i / w % h, i % w);
        if row >= top && row < top + side && column >= left && column < left + side {
            let value = *pixel + T::from_f64(2.0) * sample.eps * sample.sign(8 + channel);
            let value = if value > sample.eps { sample.eps } else { value };
            *pixel = sample.clamp(if value < -sample.eps { -sample.eps } else { value }, i);
        }
    }
    trial
}

fn norm<T: Real>(values: &[T]) -> T {
    T::from_f64(values.iter().map(|v| v.to_f64() * v.to_f64()).sum::<f64>().sqrt())
}

/// The shape of a side, read from the table that the attack is given: the tiles' first, then one per halving of the share.
fn pyramid<T: Real>(sample: &Sample<T>, halvings: Option<usize>, side: usize, transposed: bool) -> Vec<T> {
    let [_, h, w] = sample.dims;
    let tile = (h / 5).max(1);
    let before = |halvings: usize| (0..halvings).map(|n| side_of(0.8 / f64::from(1 << n), h, w).pow(2)).sum::<usize>();
    let start = halvings.map_or(0, |halvings| tile * tile + before(halvings));
    let shape = &sample.pyramids[start..start + side * side];
    let at = |i: usize| if transposed { i % side * side + i / side } else { i };
    (0..shape.len()).map(|i| shape[at(i)]).collect()
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
        let shape = pyramid(sample, None, side, sample.uniform(16 + count * c + tile) >= 0.5);
        for channel in 0..c {
            for (i, &height) in shape.iter().enumerate() {
                let row = start + tile / along(w) * side + i / side;
                let column = start + tile % along(w) * side + i % side;
                delta[(channel * h + row) * w + column] += sample.sign(16 + tile * c + channel) * height;
            }
        }
    }
    scaled(sample, &delta)
}

fn move_window<T: Real>(sample: &Sample<T>, halvings: usize, side: usize) -> Vec<T> {
    let [c, h, w] = sample.dims;
    let (to, from) = (sample.window([0, 1], side), sample.window([2, 3], side));
    let shape = pyramid(sample, Some(halvings), side, sample.uniform(4) >= 0.5);
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
