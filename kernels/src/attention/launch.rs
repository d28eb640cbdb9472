//! The CPU launches: buffers to slices.

use engine::{Backward, Error, Forward, Mode, Result, Scratch, Spec};

use super::{Attention, Dims, NAME, cpu};
use crate::common::math::Float;

pub(super) fn scratch(op: &Attention, inputs: &[Spec], workers: usize) -> Scratch {
    if inputs.first().is_some_and(|qkv| qkv.dtype.size() == 8) {
        scratch_of::<f64>(op, inputs, workers)
    } else {
        scratch_of::<f32>(op, inputs, workers)
    }
}

fn scratch_of<T: Float>(op: &Attention, inputs: &[Spec], workers: usize) -> Scratch {
    let sizes = op.sizes(inputs);
    Scratch {
        forward: size_of::<T>() * (cpu::forward_scratch::<T>(sizes, workers) + rows(sizes)),
        backward: size_of::<T>() * cpu::backward_scratch::<T>(sizes, workers),
    }
}

/// Elements of the log-sum-exp.
fn rows(sizes: Dims) -> usize {
    sizes.b * sizes.h * sizes.n
}

pub(super) fn forward<T: Float>(op: &Attention, mut io: Forward) -> Result<()> {
    let sizes = op.sizes(&[io.inputs[0].spec()]);
    let qkv = io.inputs[0].host::<T>()?;
    let scratch = io.scratch.scratch::<T>();
    match io.extras.first_mut() {
        Some(lse) => cpu::forward(sizes, qkv, io.output.host()?, lse.host()?, scratch),
        None => {
            let (lse, scratch) = scratch.split_at_mut(rows(sizes));
            cpu::forward(sizes, qkv, io.output.host()?, lse, scratch)
        }
    }
}

pub(super) fn backward<T: Float>(op: &Attention, mut io: Backward) -> Result<()> {
    let sizes = op.sizes(&[io.inputs[0].spec()]);
    let (qkv, out, d_out) = (io.inputs[0].host::<T>()?, io.output.host::<T>()?, io.d_output.host::<T>()?);
    let lse = io.extras.first().ok_or_else(|| Error::new(NAME, "the log-sum-exp is missing"))?.host::<T>()?;
    let scratch = io.scratch.scratch::<T>();
    let Some(Some(grad)) = io.d_inputs.first_mut() else { return Ok(()) };
    let accumulate = grad.mode == Mode::Add;
    cpu::backward(sizes, d_out, qkv, out, lse, grad.buf.host()?, accumulate, scratch)
}
