//! The matrix into scratch, rows over the threads; then the packed product, also over the threads.

use engine::rng::Philox;
use engine::{Backward, Buf, Forward, Inputs, Mode, Result, Scratch, Spec};

use super::{Mean, NAME, Sharing, StochasticLinear};
use crate::common::gemm::{Gemm, Mat, MatMut, gemm, gemm_scratch};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block, rows_per_block};
use crate::common::random::{self, fill};

/// Of one product, which covers the whole batch or one sample.
struct Sizes {
    rows: usize,
    k: usize,
    m: usize,
}

fn sizes(op: &StochasticLinear, x: Spec) -> Result<Sizes> {
    let [b, n, k] = x.array(NAME, "x")?;
    let m = op.matrix.width;
    Ok(if op.matrix.sharing == Sharing::PerImage { Sizes { rows: n, k, m } } else { Sizes { rows: b * n, k, m } })
}

pub(super) fn scratch(op: &StochasticLinear, inputs: &[Spec], _wanted: Inputs, workers: usize) -> Scratch {
    let Some(x) = inputs.first() else { return Scratch::default() };
    let Ok(Sizes { rows, k, m }) = sizes(op, *x) else { return Scratch::default() };
    let size = x.dtype.size();
    let elements = |n, inner| {
        if size == 8 {
            gemm_scratch::<f64>(rows, n, inner, workers)
        } else {
            gemm_scratch::<f32>(rows, n, inner, workers)
        }
    };
    Scratch { forward: (k * m + elements(m, k)) * size, backward: (k * m + elements(k, m)) * size }
}

pub(super) fn forward<T: Float>(op: &StochasticLinear, mut io: Forward) -> Result<()> {
    let Sizes { rows, k, m } = sizes(op, io.inputs[0].spec())?;
    let (w, work) = io.scratch.scratch::<T>().split_at_mut(k * m);
    let samples = Samples::new(op, io.inputs)?;
    let parts = io.inputs[0].host::<T>()?.chunks_exact(rows * k).zip(io.output.host::<T>()?.chunks_exact_mut(rows * m));
    for (index, (x, y)) in parts.enumerate() {
        samples.draw(index, k, w);
        gemm(Gemm::new(rows, m, k, Mat::rows(x, k), Mat::rows(&*w, m), MatMut::rows(y, m)), work)?;
    }
    Ok(())
}

pub(super) fn backward<T: Float>(op: &StochasticLinear, mut io: Backward) -> Result<()> {
    let Some(Some(dx)) = io.d_inputs.first_mut() else { return Ok(()) };
    let Sizes { rows, k, m } = sizes(op, dx.buf.spec())?;
    let (w, work) = io.scratch.scratch::<T>().split_at_mut(k * m);
    let samples = Samples::new(op, io.inputs)?;
    let accumulate = dx.mode == Mode::Add;
    let parts = io.d_output.host::<T>()?.chunks_exact(rows * m).zip(dx.buf.host::<T>()?.chunks_exact_mut(rows * k));
    for (index, (dy, dx)) in parts.enumerate() {
        samples.draw(index, k, w);
        let product = Gemm::new(rows, k, m, Mat::rows(dy, m), Mat::rows(&*w, m).transposed(), MatMut::rows(dx, k));
        gemm(Gemm { accumulate, ..product }, work)?;
    }
    Ok(())
}

/// Where matrices are drawn from.
struct Samples<'a> {
    op: &'a StochasticLinear,
    philox: Philox,
    /// None where the batch shares a matrix.
    ids: &'a [u32],
}

impl<'a> Samples<'a> {
    fn new(op: &'a StochasticLinear, inputs: &[Buf<'a>]) -> Result<Self> {
        let ids = if op.matrix.sharing == Sharing::PerImage { inputs[2].host()? } else { &[] };
        Ok(Self { op, philox: random::philox(inputs[1], op.stream)?, ids })
    }

    /// Draws matrix `index` `[k, m]`.
    fn draw<T: Float>(&self, index: usize, k: usize, w: &mut [T]) {
        let sample = self.ids.get(index).copied().unwrap_or(0);
        let (m, law) = (self.op.matrix.width, self.op.matrix.law(k));
        let group = rows_per_block(m);
        for_each_block(blocks(w, group * m), |block, w| {
            fill(self.philox, law, sample, block * group * m, w);
            if self.op.matrix.mean == Mean::Identity {
                for (row, w) in w.chunks_exact_mut(m).enumerate() {
                    w[block * group + row] += T::ONE;
                }
            }
        });
    }
}
