//! Launches on wgpu: four terms at a time.

use engine::device::source::Source;
use engine::{Arg, Backward, Forward, Kernel, Result, WgpuExec};

use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/combine/forward.wgsl", include_str!("forward.wgsl"));

/// Terms of one launch.
const TERMS: usize = 4;

/// `y = sum of the terms`, or added to y.
fn launch(exec: &mut WgpuExec, count: usize, terms: &[(f32, Arg)], y: Arg, add: bool) -> Result<()> {
    let kernel = Kernel::new(&FORWARD, "main").with("TERMS", word(terms.len())).when("ADD", add);
    let mut args = [y, Arg::Nothing, Arg::Nothing, Arg::Nothing, Arg::Nothing];
    let mut factors = [0; TERMS];
    for ((&(factor, x), arg), slot) in terms.iter().zip(&mut args[1..]).zip(&mut factors) {
        *arg = x;
        *slot = factor.to_bits();
    }
    let [x, y, z, w] = factors;
    exec.launch_each(&kernel, count, &args, |part| [x, y, z, w, word(part.len()), 0, 0, 0])
}

pub(super) fn forward(coefficients: &[f32], exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let terms = coefficients.iter().zip(io.inputs).map(|(&factor, x)| Ok((factor, x.rows()?)));
    let terms = terms.collect::<Result<Vec<_>>>()?;
    for (group, terms) in terms.chunks(TERMS).enumerate() {
        launch(exec, io.output.spec().elements(), terms, io.output.rows()?, group > 0)?;
    }
    Ok(())
}

pub(super) fn backward(coefficients: &[f32], exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let dy = io.d_output.rows()?;
    for (&factor, grad) in coefficients.iter().zip(io.d_inputs.iter()) {
        if let Some((dx, add)) = grad_rows(grad.as_ref())? {
            launch(exec, io.d_output.spec().elements(), &[(factor, dy)], dx, add)?;
        }
    }
    Ok(())
}
