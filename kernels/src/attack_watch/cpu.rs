//! One row after the other: there are few.

use engine::{Error, Result, UpdateIo};

use super::{COLUMNS, Limit, NAME};
use crate::common::math::Float;
use crate::common::progress::{FOOLED, RUNNING, SPENT, STATUS, STEPS};

pub(super) fn run<T: Float>(limit: Limit, io: UpdateIo) -> Result<()> {
    let margins = io.inputs[0].host::<T>()?;
    let [progress, active] = io.state else { return Err(Error::new(NAME, "needs two states")) };
    let rows = progress.host::<T>()?.chunks_exact_mut(COLUMNS);
    let number = |value: u32| T::from_f64(f64::from(value));
    for ((row, active), &margin) in rows.zip(active.host::<T>()?).zip(margins) {
        *active = T::ZERO;
        if row[STATUS] != number(RUNNING) {
            continue;
        }
        if limit.stop && margin > T::ZERO {
            row[STATUS] = number(FOOLED);
        } else if row[STEPS] == number(limit.steps) {
            row[STATUS] = number(SPENT);
        } else {
            row[STEPS] += T::ONE;
            *active = T::ONE;
        }
    }
    Ok(())
}
