//! The masked patches are selected once; then planes over the threads.

use engine::{Error, Result, UpdateIo};

use super::{NAME, PatchMask, masked};
use crate::common::flat::scalar_at;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};
use crate::common::random::philox;

pub(super) fn run<T: Float>(update: &PatchMask, mut io: UpdateIo) -> Result<()> {
    let [delta] = io.state else { return Err(Error::new(NAME, "needs one state")) };
    let ([_, h, w], patches) = update.sizes(&delta.spec())?;
    let masked = masked(patches, scalar_at::<T>(&io.inputs[0], 0)?.to_f64());
    let philox = philox(io.inputs[1], update.stream)?;
    if masked == 0 {
        return Ok(());
    }
    let (words, order) = io.scratch.scratch::<u32>().split_at_mut(patches);
    let order = &mut order[..patches];
    philox.fill(0, patches, |patch, word| words[patch] = word);
    order.iter_mut().zip(0_u32..).for_each(|(slot, patch)| *slot = patch);
    order.select_nth_unstable_by_key(masked - 1, |&patch| (words[patch as usize], patch));
    let (order, size, columns) = (&order[..masked], update.patch, w / update.patch);
    for_each_block(blocks(delta.host::<T>()?, h * w), |_, plane| {
        for &patch in order {
            let (row, column) = (patch as usize / columns, patch as usize % columns);
            for line in plane[row * size * w..(row + 1) * size * w].chunks_exact_mut(w) {
                line[column * size..(column + 1) * size].fill(T::ZERO);
            }
        }
    });
    Ok(())
}
