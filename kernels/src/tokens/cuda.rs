//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Buf, Forward, Result, Spec};

use super::{Layout, Part, Place, Tokens};
use crate::common::cuda::{flat_grid, grad_at, source};

static FORWARD: Source = source("kernels/src/tokens/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/tokens/backward.cu", include_str!("backward.cu"));

/// `Parts` of `forward.cu`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Parts {
    patches: Param,
    prefix: [Param; 3],
    position: Param,
    noise: Param,
    y: Param,
    count: Param,
    n: Param,
    d: Param,
    ends: [Param; 3],
    reach: Param,
    noise_of: Param,
}

pub(super) fn forward(op: &Tokens, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let specs: Vec<Spec> = io.inputs.iter().map(Buf::spec).collect();
    let Layout { p, d, prefix, .. } = op.layout(&specs)?;
    let spec = io.output.spec();
    let mut parts = Parts {
        patches: io.inputs[0].address()?,
        y: io.output.address()?,
        count: spec.elements().into(),
        n: (prefix + p).into(),
        d: d.into(),
        ends: [prefix.into(); 3],
        ..bytemuck::Zeroable::zeroed()
    };
    let mut slots = parts.prefix.iter_mut().zip(&mut parts.ends);
    for (at, (part, input)) in (1..).zip(op.parts.iter().zip(&io.inputs[1..])) {
        let Place { first, tokens, shared } = op.place(&specs, at)?;
        let address = input.address()?;
        match part {
            Part::Prefix => {
                if let Some((slot, end)) = slots.next() {
                    (*slot, *end) = (address, (first + tokens).into());
                }
            }
            Part::Position => (parts.position, parts.reach) = (address, first.into()),
            Part::Noise => (parts.noise, parts.noise_of) = (address, if shared { 0 } else { p * d }.into()),
        }
    }
    exec.launch_with(Kernel::new(&FORWARD, "forward", spec.dtype), flat_grid(spec.elements()), &parts)
}

pub(super) fn backward(op: &Tokens, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let specs: Vec<Spec> = io.inputs.iter().map(Buf::spec).collect();
    let Layout { b, p, d, prefix } = op.layout(&specs)?;
    let (dy, storage) = (io.d_output.address()?, io.d_output.spec().dtype);
    for (position, grad) in io.d_inputs.iter().enumerate() {
        let Some((gradient, add)) = grad_at(grad.as_ref())? else { continue };
        let Place { first, tokens, shared } = op.place(&specs, position)?;
        let params = |count: usize| {
            let sizes = [count, prefix + p, d, first, tokens].map(Into::into);
            [[dy, gradient].as_slice(), &sizes, &[add.into()]].concat()
        };
        if shared {
            let grid = Grid::new((tokens * d).div_ceil(32), 256);
            exec.launch(Kernel::new(&BACKWARD, "sum", storage), grid, &params(b))?;
        } else {
            let count = b * tokens * d;
            exec.launch(Kernel::new(&BACKWARD, "slice", storage), flat_grid(count), &params(count))?;
        }
    }
    Ok(())
}
