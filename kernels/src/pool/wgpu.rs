//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Result, Spec, WgpuExec};

use super::{NAME, Pool};
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/pool/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/pool/backward.wgsl", include_str!("backward.wgsl"));

/// Samples of x, and the parameters of a launch over `count` elements.
fn params(pool: Pool, x: Spec) -> Result<(usize, impl Fn(usize) -> [u32; 8])> {
    let [b, n, d] = x.array(NAME, "x")?;
    let (first, tokens) = pool.range(n);
    Ok((b, move |count| [word(count), word(n), word(d), word(first), word(tokens), 0, 0, 0]))
}

pub(super) fn forward(pool: Pool, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let (b, params) = params(pool, io.inputs[0].spec())?;
    let d = io.output.spec().shape.last();
    let args = [io.inputs[0].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main");
    exec.launch_rows(&kernel, b, &args, |samples| (samples * d).div_ceil(64), |part| params(part.len() * d))
}

pub(super) fn backward(pool: Pool, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let (b, params) = params(pool, io.inputs[0].spec())?;
    let sample = io.inputs[0].spec().elements() / b.max(1);
    let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add);
    let args = [io.d_output.rows()?, dx];
    exec.launch_rows(&kernel, b, &args, |samples| (samples * sample).div_ceil(64), |part| params(part.len() * sample))
}
