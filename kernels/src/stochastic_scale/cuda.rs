//! Launches on CUDA: scales that tokens share are drawn once, into scratch.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Buf, Forward, Result, Spec};

use super::{Sharing, StochasticScale};
use crate::common::cuda::{grad_at, law_params, source};
use crate::common::specs::{per_sample_elements, samples};

static FORWARD: Source = source("kernels/src/stochastic_scale/forward.cu", include_str!("forward.cu"));

/// Scales that tokens of `x` share.
fn shared(sharing: Sharing, x: &Spec) -> usize {
    match sharing {
        Sharing::Batch => x.shape.last(),
        Sharing::PerImage => samples(x) * x.shape.last(),
        Sharing::PerToken => 0,
    }
}

/// Bytes of the scales that tokens share.
pub(super) fn scratch(sharing: Sharing, x: &Spec) -> usize {
    shared(sharing, x) * size_of::<f32>()
}

pub(super) fn forward(op: &StochasticScale, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let args = [io.scratch.address()?, io.inputs[0].address()?, io.output.address()?];
    scaled(op, exec, io.inputs, args, false)
}

pub(super) fn backward(op: &StochasticScale, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    scaled(op, exec, io.inputs, [io.scratch.address()?, io.d_output.address()?, dx], add)
}

fn scaled(
    op: &StochasticScale,
    exec: &mut CudaExec,
    inputs: &[Buf],
    [scales, x, y]: [Param; 3],
    add: bool,
) -> Result<()> {
    let spec = inputs[0].spec();
    let (count, sample, width) = (spec.elements(), per_sample_elements(&spec), spec.shape.last());
    let kernel = |entry| Kernel::new(&FORWARD, entry, spec.dtype);
    let ids = if op.sharing == Sharing::Batch { Param::NULL } else { inputs[2].address()? };
    let draw = [inputs[1].address()?, ids, op.stream.0.into()];
    let law = law_params(exec, op.distribution.law())?;
    if op.sharing == Sharing::PerToken {
        let draws = samples(&spec);
        let params = [&draw[..], &law, &[x, y, draws.into(), sample.into(), add.into()]].concat();
        return exec.launch(kernel("own_scales"), Grid::each(draws * sample.div_ceil(4)), &params);
    }
    let (draws, sample) = if op.sharing == Sharing::Batch { (1, count) } else { (samples(&spec), sample) };
    let params = [&draw[..], &law, &[scales, draws.into(), width.into()]].concat();
    exec.launch(kernel("draw"), Grid::each(draws * width.div_ceil(4)), &params)?;
    let params = [scales, x, y, count.into(), sample.into(), width.into(), add.into()];
    if width.is_multiple_of(4) {
        exec.launch(kernel("shared_quads"), Grid::each(count / 4), &params)
    } else {
        exec.launch(kernel("shared_singles"), Grid::each(count), &params)
    }
}
