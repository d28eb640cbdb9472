//! Fast loops: samples over the threads forward; rows of what a batch shares over the threads backward.

use engine::{Backward, Forward, Grad, Real, Result};

use super::{Layout, Part, Tokens};
use crate::common::grad::{put_all, put_zeros};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block, rows_per_block};

pub(super) fn forward<T: Float>(op: &Tokens, mut io: Forward) -> Result<()> {
    let [b, n, d] = io.output.spec().array("tokens", "output")?;
    let mut inputs: [&[T]; engine::op::MAX_INPUTS] = Default::default();
    for (slot, input) in inputs.iter_mut().zip(io.inputs) {
        *slot = input.host()?;
    }
    let [patches, parts @ ..] = inputs;
    let per_sample = patches.len() / b;
    for_each_block(blocks(io.output.host::<T>()?, n * d), |sample, y| {
        let of_sample = |all: &'_ [T]| if all.len() > per_sample { sample * per_sample } else { 0 };
        let (mut prefix, rest) = y.split_at_mut(n * d - per_sample);
        rest.copy_from_slice(&patches[sample * per_sample..][..per_sample]);
        for (part, values) in op.parts.iter().zip(parts) {
            match part {
                Part::Noise => add(rest, &values[of_sample(values)..][..per_sample]),
                Part::Prefix => {
                    let (these, others) = prefix.split_at_mut(values.len());
                    these.copy_from_slice(values);
                    prefix = others;
                }
                Part::Position => {}
            }
        }
        for (part, values) in op.parts.iter().zip(parts) {
            if *part == Part::Position {
                let first = y.len() - values.len();
                add(&mut y[first..], values);
            }
        }
    });
    Ok(())
}

fn add<T: Real>(y: &mut [T], values: &[T]) {
    for (y, &value) in y.iter_mut().zip(values) {
        *y += value;
    }
}

pub(super) fn backward<T: Float>(op: &Tokens, io: Backward) -> Result<()> {
    let specs: [engine::Spec; engine::op::MAX_INPUTS] =
        std::array::from_fn(|at| io.inputs.get(at).map_or(io.d_output.spec(), engine::Buf::spec));
    let layout = op.layout(&specs[..io.inputs.len()])?;
    let dy = io.d_output.host::<T>()?;
    for (position, grad) in io.d_inputs.iter_mut().enumerate() {
        let Some(grad) = grad else { continue };
        let place = op.place(&specs[..io.inputs.len()], position)?;
        if place.shared {
            summed(dy, layout, place.first, grad)?;
        } else {
            of_each_sample(dy, layout, grad)?;
        }
    }
    Ok(())
}

/// The patch rows of every sample.
fn of_each_sample<T: Float>(dy: &[T], layout: Layout, grad: &mut Grad) -> Result<()> {
    let Layout { p, d, prefix, .. } = layout;
    let mode = grad.mode;
    for_each_block(blocks(grad.buf.host::<T>()?, p * d), |sample, out| {
        put_all(mode, out, &dy[(sample * (prefix + p) + prefix) * d..][..p * d]);
    });
    Ok(())
}

/// Token rows `first ..` summed over the samples, in their order.
fn summed<T: Float>(dy: &[T], layout: Layout, first: usize, grad: &mut Grad) -> Result<()> {
    let Layout { b, p, d, prefix } = layout;
    let mode = grad.mode;
    let group = rows_per_block(b * d) * d;
    for_each_block(blocks(grad.buf.host::<T>()?, group), |block, out| {
        put_zeros(mode, out);
        for sample in 0..b {
            add(out, &dy[(sample * (prefix + p) + first) * d + block * group..][..out.len()]);
        }
    });
    Ok(())
}
