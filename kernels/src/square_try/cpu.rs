//! Samples over the threads.

use engine::rng::Philox;
use engine::{Error, Result, UpdateIo};

use super::{COLUMNS, Draws, ENDS, FIRST, NAME, PHASES, SIGNS, SquareTry, offsets, sides, tiles};
use crate::common::attack::into_box;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::progress::{Ball, EPS, STEPS};

/// What all samples share.
struct Shared<'a, T> {
    dims: [usize; 3],
    sides: [usize; PHASES],
    offsets: [usize; PHASES],
    pyramids: &'a [T],
}

/// One sample.
struct Sample<'a, T> {
    best: &'a [T],
    image: &'a [T],
    eps: T,
    id: u32,
    philox: Philox,
}

pub(super) fn run<T: Float>(update: &SquareTry, io: UpdateIo) -> Result<()> {
    let [b, c, h, w] = io.inputs[0].spec().array(NAME, "best")?;
    let (best, images, ids) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?, io.inputs[2].host::<u32>()?);
    let (progress, words) = (io.inputs[3].host::<T>()?, io.inputs[4].host::<u32>()?);
    let ball = update.search.ball;
    let shared = Shared {
        dims: [c, h, w],
        sides: sides(ball, h, w),
        offsets: offsets(h, w),
        pyramids: if ball == Ball::L2 { io.inputs[5].host::<T>()? } else { &[] },
    };
    let [seed_low, seed_high, ..] = words else { return Err(Error::new(NAME, "the random state has no seed")) };
    let width = c * h * w;
    let Some(trial) = io.state.first_mut() else { return Err(Error::new(NAME, "needs a state")) };
    debug_assert_eq!(ids.len(), b);
    for_each_block(blocks(trial.host::<T>()?, width), |sample, trial| {
        let row = &progress[sample * COLUMNS..(sample + 1) * COLUMNS];
        let at = sample * width..(sample + 1) * width;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count below 2^24, exact in floats"
        )]
        let judged = row[STEPS].to_f64() as u32;
        let one = Sample {
            best: &best[at.clone()],
            image: &images[at],
            eps: row[EPS],
            id: if update.search.draws == Draws::Shared { 0 } else { ids[sample] },
            philox: Philox::from_state([*seed_low, *seed_high, judged, 0], update.stream),
        };
        match (ball, judged.checked_sub(1)) {
            (Ball::Linf, None) => stripes(&shared, &one, trial),
            (Ball::Linf, Some(i)) => square(&shared, &one, phase(i), trial),
            (Ball::L2, None) => first_tiles(&shared, &one, trial),
            (Ball::L2, Some(i)) => window(&shared, &one, phase(i), trial),
        }
    });
    Ok(())
}

/// The phase of proposal `i`.
fn phase(i: u32) -> usize {
    ENDS.iter().filter(|&&end| i > end).count()
}

impl<T: Float> Sample<'_, T> {
    fn word(&self, at: usize) -> u32 {
        self.philox.bits(self.id, at)
    }

    /// A place below `size - side`, 0 where there is none.
    fn place(&self, at: usize, size: usize, side: usize) -> usize {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sides of images"
        )]
        let place = (self.philox.uniform(self.id, at) * (size - side) as f32) as usize;
        place
    }

    fn sign(&self, at: usize) -> T {
        if self.word(at) >> 31 == 1 { T::ONE } else { -T::ONE }
    }

    fn is_transposed(&self, at: usize) -> bool {
        self.word(at) >> 31 == 1
    }
}

fn stripes<T: Float>(shared: &Shared<T>, sample: &Sample<T>, trial: &mut [T]) {
    let [c, h, w] = shared.dims;
    for channel in 0..c {
        for column in 0..w {
            let value = sample.eps * sample.sign(FIRST + channel * w + column);
            for row in 0..h {
                let i = (channel * h + row) * w + column;
                trial[i] = into_box(value, sample.image[i]);
            }
        }
    }
}

fn square<T: Float>(shared: &Shared<T>, sample: &Sample<T>, phase: usize, trial: &mut [T]) {
    let [c, h, w] = shared.dims;
    let side = shared.sides[phase];
    let (top, left) = (sample.place(0, h, side), sample.place(1, w, side));
    trial.copy_from_slice(sample.best);
    for channel in 0..c {
        let change = sample.eps * sample.sign(SIGNS + channel) * T::from_f64(2.0);
        for row in top..top + side {
            for column in left..left + side {
                let i = (channel * h + row) * w + column;
                let value = (trial[i] + change).max(-sample.eps).min(sample.eps);
                trial[i] = into_box(value, sample.image[i]);
            }
        }
    }
}

fn first_tiles<T: Float>(shared: &Shared<T>, sample: &Sample<T>, trial: &mut [T]) {
    let [c, h, w] = shared.dims;
    let (side, start, [down, across]) = tiles(h, w);
    trial.fill(T::ZERO);
    for tile in 0..down * across {
        let (top, left) = (start + tile / across * side, start + tile % across * side);
        let transposed = sample.is_transposed(FIRST + down * across * c + tile);
        for channel in 0..c {
            let sign = sample.sign(FIRST + tile * c + channel);
            for row in 0..side {
                for column in 0..side {
                    let at = if transposed { column * side + row } else { row * side + column };
                    trial[(channel * h + top + row) * w + left + column] = sign * shared.pyramids[at];
                }
            }
        }
    }
    scale(sample, trial, trial.iter().map(|v| v.to_f64() * v.to_f64()).sum());
}

/// Brings the whole to length eps, and into the box.
fn scale<T: Float>(sample: &Sample<T>, trial: &mut [T], squares: f64) {
    let factor = T::from_f64(sample.eps.to_f64() / (squares.sqrt() + 1e-12));
    for (value, &image) in trial.iter_mut().zip(sample.image) {
        *value = into_box(*value * factor, image);
    }
}

fn window<T: Float>(shared: &Shared<T>, sample: &Sample<T>, phase: usize, trial: &mut [T]) {
    let [c, h, w] = shared.dims;
    let side = shared.sides[phase];
    let pyramid = &shared.pyramids[shared.offsets[phase]..shared.offsets[phase] + side * side];
    let to = [sample.place(0, h, side), sample.place(1, w, side)];
    let from = [sample.place(2, h, side), sample.place(3, w, side)];
    let transposed = sample.is_transposed(4);
    let inside = |[top, left]: [usize; 2], row: usize, column: usize| {
        (top..top + side).contains(&row) && (left..left + side).contains(&column)
    };
    let all: f64 = sample.best.iter().map(|v| v.to_f64() * v.to_f64()).sum();
    let spare = (sample.eps.to_f64() * sample.eps.to_f64() - all).max(0.0);
    #[expect(clippy::cast_precision_loss, reason = "a count of channels")]
    let channels = c as f64;
    trial.copy_from_slice(sample.best);
    let mut total = all;
    for (channel, plane) in trial.chunks_exact_mut(h * w).enumerate() {
        let (mut there, mut either) = (0.0, 0.0);
        for (i, value) in plane.iter_mut().enumerate() {
            let (row, column) = (i / w, i % w);
            let square = value.to_f64() * value.to_f64();
            there += if inside(to, row, column) { square } else { 0.0 };
            if inside(to, row, column) || inside(from, row, column) {
                either += square;
            }
            if inside(from, row, column) && !inside(to, row, column) {
                *value = T::ZERO;
            }
        }
        let sign = sample.sign(SIGNS + channel);
        let old = T::from_f64(1.0 / (there.sqrt() + 1e-12));
        let mixed = |row: usize, column: usize, value: T| {
            let at = if transposed { column * side + row } else { row * side + column };
            sign * pyramid[at] + value * old
        };
        let mut length = 0.0;
        for row in 0..side {
            for column in 0..side {
                let value = mixed(row, column, plane[(to[0] + row) * w + to[1] + column]).to_f64();
                length += value * value;
            }
        }
        let budget = spare / channels + either;
        let factor = budget.sqrt() / (length.sqrt() + 1e-12);
        for row in 0..side {
            for column in 0..side {
                let value = &mut plane[(to[0] + row) * w + to[1] + column];
                *value = mixed(row, column, *value) * T::from_f64(factor);
            }
        }
        total += length * factor * factor - either;
    }
    scale(sample, trial, total.max(0.0));
}
