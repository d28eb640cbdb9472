//! Fast loops: scales into a row of scratch, rows of tokens over the threads.

use engine::rng::Philox;
use engine::{Backward, Forward, Mode, Result};

use super::{Sharing, StochasticScale};
use crate::common::grad::put;
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block, for_each_block_with, rows_per_block};
use crate::common::random::{self, fill};
use crate::common::simd::simd;

simd! {
    /// Rows of `scales.len()` elements.
    fn scaled<T: Float>(scales: &[T], x: &[T], mode: Mode, y: &mut [T]) {
        let h = scales.len();
        for (x, y) in x.chunks_exact(h).zip(y.chunks_exact_mut(h)) {
            for ((y, &x), &scale) in y.iter_mut().zip(x).zip(scales) {
                put(mode, y, scale * x);
            }
        }
    }
}

pub(super) fn forward<T: Float>(op: &StochasticScale, mut io: Forward) -> Result<()> {
    let draw = Draw { philox: random::philox(io.inputs[1], op.stream)?, ids: io.inputs[2].host()?, op };
    let h = io.output.spec().shape.last();
    draw.apply::<T>(h, io.inputs[0].host()?, Mode::Write, io.output.host()?, io.scratch.scratch())
}

pub(super) fn backward<T: Float>(op: &StochasticScale, mut io: Backward) -> Result<()> {
    let Some(Some(dx)) = io.d_inputs.first_mut() else { return Ok(()) };
    let ids = if op.sharing == Sharing::Batch { &[][..] } else { io.inputs[2].host()? };
    let draw = Draw { philox: random::philox(io.inputs[1], op.stream)?, ids, op };
    let h = io.d_output.spec().shape.last();
    draw.apply::<T>(h, io.d_output.host()?, dx.mode, dx.buf.host()?, io.scratch.scratch())
}

struct Draw<'a> {
    philox: Philox,
    /// Not read where the batch shares a draw.
    ids: &'a [u32],
    op: &'a StochasticScale,
}

impl Draw<'_> {
    fn apply<T: Float>(&self, h: usize, x: &[T], mode: Mode, y: &mut [T], scratch: &mut [T]) -> Result<()> {
        let (philox, law) = (self.philox, self.op.distribution.law());
        if self.op.sharing == Sharing::Batch {
            let scales = &mut scratch[..h];
            fill(philox, law, 0, 0, scales);
            let block = rows_per_block(h) * h;
            for_each_block(blocks(y, block), |index, y| scaled(scales, &x[index * block..][..y.len()], mode, y));
            return Ok(());
        }
        let per_sample = y.len() / self.ids.len();
        for_each_block_with(blocks(y, per_sample), scratch, h, |sample, y, scales| {
            let (x, id) = (&x[sample * per_sample..][..per_sample], self.ids[sample]);
            if self.op.sharing == Sharing::PerImage {
                fill(philox, law, id, 0, scales);
                return scaled(scales, x, mode, y);
            }
            for (token, (x, y)) in x.chunks_exact(h).zip(y.chunks_exact_mut(h)).enumerate() {
                fill(philox, law, id, token * h, scales);
                scaled(scales, x, mode, y);
            }
        })
    }
}
