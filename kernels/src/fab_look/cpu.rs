//! Samples over the threads.

use engine::{Error, Result, UpdateIo};

use super::{BACK, COLUMNS, Limit, NAME, NEAREST};
use crate::common::flat::sum_squares;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::progress::{Ball, EPS, FOOLED, RUNNING, SPENT, STATUS, STEPS};

pub(super) fn run<T: Float>(ball: Ball, limit: Limit, io: UpdateIo) -> Result<()> {
    let margins = io.inputs[0].host::<T>()?;
    let [delta, nearest, progress] = io.state else { return Err(Error::new(NAME, "needs three states")) };
    let delta = delta.host::<T>()?;
    let width = delta.len() / margins.len();
    let states = (blocks(delta, width), blocks(nearest.host::<T>()?, width), blocks(progress.host::<T>()?, COLUMNS));
    for_each_block(states, |sample, (delta, nearest, row)| {
        let Ok(row) = <&mut [T; COLUMNS]>::try_from(row) else { return };
        if row[STATUS] != number(RUNNING) {
            return;
        }
        if margins[sample] > T::ZERO {
            keep(ball, delta, nearest, &mut row[NEAREST]);
            delta.iter_mut().for_each(|delta| *delta *= T::from_f64(BACK));
        }
        count(limit, row);
    });
    Ok(())
}

fn number<T: Float>(value: u32) -> T {
    T::from_f64(f64::from(value))
}

fn keep<T: Float>(ball: Ball, delta: &[T], nearest: &mut [T], least: &mut T) {
    let length = T::from_f64(match ball {
        Ball::Linf => delta.iter().fold(0.0, |most, delta| delta.abs().to_f64().max(most)),
        Ball::L2 => sum_squares(delta).sqrt(),
    });
    if length < *least {
        *least = length;
        nearest.copy_from_slice(delta);
    }
}

fn count<T: Float>(limit: Limit, row: &mut [T; COLUMNS]) {
    row[STEPS] += T::ONE;
    let within = row[NEAREST] <= row[EPS];
    let spent = row[STEPS] == number(limit.steps);
    if within && (limit.stop || spent) {
        row[STATUS] = number(FOOLED);
    } else if spent {
        row[STATUS] = number(SPENT);
    }
}
