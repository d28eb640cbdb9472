//! Samples over the threads.

use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::rows::{per_job, window};
use crate::common::specs::per_sample_elements;

pub(super) fn run<T: Float>(io: UpdateIo) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (candidate, score) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    let [best, best_score] = io.state else { return Err(Error::new(NAME, "needs two states")) };
    if width == 0 {
        return Ok(());
    }
    let rows = per_job(width);
    let states = (blocks(best.host::<T>()?, rows * width), blocks(best_score.host::<T>()?, rows));
    for_each_block(states, |group, (best, best_score)| {
        let tries = window(candidate, width, group * rows, best_score.len()).chunks_exact(width);
        let samples = best.chunks_exact_mut(width).zip(tries).zip(best_score).zip(&score[group * rows..]);
        for (((best, candidate), best_score), &score) in samples {
            if score > *best_score {
                best.copy_from_slice(candidate);
                *best_score = score;
            }
        }
    });
    Ok(())
}
