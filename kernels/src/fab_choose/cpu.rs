//! Samples over the threads.

use engine::{Error, Result, UpdateIo};

use super::{FARTHEST, FabChoose, NAME, TINY};
use crate::common::flat::sum_squares;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::progress::Ball;
use crate::common::specs::per_sample_elements;

pub(super) fn run<T: Float>(update: &FabChoose, io: UpdateIo) -> Result<()> {
    let width = per_sample_elements(&io.inputs[0].spec());
    let (gradients, differences) = (io.inputs[0].host::<T>()?, io.inputs[1].host::<T>()?);
    let labels = io.inputs[2].host::<i32>()?;
    let [kept, kept_difference, distance] = io.state else { return Err(Error::new(NAME, "needs three states")) };
    let states =
        (blocks(kept.host::<T>()?, width), blocks(kept_difference.host::<T>()?, 1), blocks(distance.host::<T>()?, 1));
    for_each_block(states, |sample, (kept, kept_difference, distance)| {
        if update.class == 0 {
            distance.fill(T::from_f64(FARTHEST));
        }
        if u32::try_from(labels[sample]) == Ok(update.class) {
            return;
        }
        let gradient = &gradients[sample * width..(sample + 1) * width];
        let norm = match update.ball {
            Ball::Linf => gradient.iter().map(|g| g.abs().to_f64()).sum(),
            Ball::L2 => sum_squares(gradient).sqrt(),
        };
        let found = T::from_f64(differences[sample].abs().to_f64() / (norm + TINY));
        if found < distance[0] {
            kept.copy_from_slice(gradient);
            (kept_difference[0], distance[0]) = (differences[sample], found);
        }
    });
    Ok(())
}
