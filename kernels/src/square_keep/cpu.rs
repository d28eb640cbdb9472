//! Samples over the threads.

use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::progress::{FOOLED, RUNNING, SPENT, STATUS, STEPS};
use crate::common::specs::per_sample_elements;
use crate::square_try::{COLUMNS, LOSS};

pub(super) fn run<T: Float>(queries: u32, io: UpdateIo) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (trials, margins) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    let [best, progress] = io.state else { return Err(Error::new(NAME, "needs two states")) };
    let number = |value: u32| T::from_f64(f64::from(value));
    let states = (blocks(best.host::<T>()?, width), blocks(progress.host::<T>()?, COLUMNS));
    for_each_block(states, |sample, (best, row)| {
        if row[STATUS] != number(RUNNING) {
            return;
        }
        let loss = -margins[sample];
        let fools = loss < T::ZERO;
        if row[STEPS] == T::ZERO || loss < row[LOSS] || loss <= T::ZERO {
            best.copy_from_slice(&trials[sample * width..(sample + 1) * width]);
            row[LOSS] = loss;
        }
        if fools {
            row[STATUS] = number(FOOLED);
        } else if row[STEPS] == number(queries) {
            row[STATUS] = number(SPENT);
        }
        row[STEPS] += T::ONE;
    });
    Ok(())
}
