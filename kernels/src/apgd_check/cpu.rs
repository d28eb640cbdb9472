//! One row after the other: there are few.

use engine::{Error, Result, UpdateIo};

use super::{
    ACTION, AT_CHECKPOINT, BACK, BEFORE, BEST, COLUMNS, ETA, FOOLS, HALVED, LARGEST, NAME, PERIOD, RAISED, SINCE, STEP,
    Schedule,
};
use crate::common::math::Float;
use crate::common::progress::{FOOLED, RUNNING, SPENT, STATUS, STEPS};

pub(super) fn run<T: Float>(schedule: Schedule, io: UpdateIo) -> Result<()> {
    let (losses, margins) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    let Some(progress) = io.state.first_mut() else { return Err(Error::new(NAME, "needs a state")) };
    let rows = progress.host::<T>()?.chunks_exact_mut(COLUMNS);
    for ((row, &loss), &margin) in rows.zip(losses).zip(margins) {
        let Ok(row) = <&mut [T; COLUMNS]>::try_from(row) else { continue };
        row[ACTION] = number(0);
        if row[STATUS] == number(RUNNING) {
            row[ACTION] = number(check(schedule, row, loss, margin));
        }
    }
    Ok(())
}

fn number<T: Float>(value: u32) -> T {
    T::from_f64(f64::from(value))
}

/// Brings a row up to date with the iterate's loss, and gives what to do with it.
fn check<T: Float>(schedule: Schedule, row: &mut [T; COLUMNS], loss: T, margin: T) -> u32 {
    let mut action = 0;
    if margin > T::ZERO {
        action |= FOOLS;
    }
    if row[STEPS] == T::ZERO {
        (row[LARGEST], row[AT_CHECKPOINT]) = (loss, loss);
        action |= BEST;
    } else {
        if loss > row[BEFORE] {
            row[RAISED] += T::ONE;
        }
        row[BEFORE] = loss;
        if loss > row[LARGEST] {
            row[LARGEST] = loss;
            action |= BEST;
        }
        row[SINCE] += T::ONE;
        if row[SINCE] == row[PERIOD] && at_checkpoint(schedule, row) {
            action |= BACK;
        }
    }
    if schedule.stop && action & FOOLS != 0 {
        row[STATUS] = number(FOOLED);
    } else if row[STEPS] == number(schedule.steps) {
        row[STATUS] = number(SPENT);
    } else {
        row[STEPS] += T::ONE;
        action |= STEP;
    }
    action
}

/// Whether the step length is halved.
fn at_checkpoint<T: Float>(schedule: Schedule, row: &mut [T; COLUMNS]) -> bool {
    let [_, shorter, shortest] = schedule.periods();
    let oscillates = row[RAISED] <= T::from_f64(schedule.rho) * row[PERIOD];
    let stands_still = row[HALVED] == T::ZERO && row[AT_CHECKPOINT] >= row[LARGEST];
    let halves = oscillates || stands_still;
    row[HALVED] = if halves { T::ONE } else { T::ZERO };
    row[AT_CHECKPOINT] = row[LARGEST];
    (row[SINCE], row[RAISED]) = (T::ZERO, T::ZERO);
    row[PERIOD] = (row[PERIOD] - number(shorter)).max(number(shortest));
    if halves {
        row[ETA] *= T::from_f64(0.5);
    }
    halves
}
