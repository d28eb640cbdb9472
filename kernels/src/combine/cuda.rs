//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Kernel, Param};
use engine::device::source::Source;
use engine::op::MAX_INPUTS;
use engine::{Backward, Forward, Result, Spec};

use crate::common::cuda::{flat_grid, grad_at, source};

static FORWARD: Source = source("kernels/src/combine/forward.cu", include_str!("forward.cu"));

/// `Terms` of `forward.cu`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Terms {
    x: [Param; MAX_INPUTS],
    factor: [f32; MAX_INPUTS],
    y: Param,
    count: Param,
    terms: u32,
    add: u32,
}

pub(super) fn forward(coefficients: &[f32], exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let terms = coefficients.iter().zip(io.inputs).map(|(&factor, x)| Ok((factor, x.address()?)));
    launch(exec, io.output.spec(), &terms.collect::<Result<Vec<_>>>()?, io.output.address()?, false)
}

pub(super) fn backward(coefficients: &[f32], exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let dy = io.d_output.address()?;
    for (&factor, grad) in coefficients.iter().zip(io.d_inputs.iter()) {
        if let Some((dx, add)) = grad_at(grad.as_ref())? {
            launch(exec, io.d_output.spec(), &[(factor, dy)], dx, add)?;
        }
    }
    Ok(())
}

/// `y = sum of the terms`, or added to y.
fn launch(exec: &mut CudaExec, spec: Spec, of: &[(f32, Param)], y: Param, add: bool) -> Result<()> {
    let (mut x, mut factor, mut terms) = ([Param::NULL; MAX_INPUTS], [0.0; MAX_INPUTS], 0);
    for ((&(value, address), x), factor) in of.iter().zip(&mut x).zip(&mut factor) {
        (*x, *factor) = (address, value);
        terms += 1;
    }
    let count = spec.elements();
    let params = Terms { x, factor, y, count: count.into(), terms, add: add.into() };
    exec.launch_with(Kernel::new(&FORWARD, "combine", spec.dtype), flat_grid(count), &params)
}
