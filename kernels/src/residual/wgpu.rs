//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Arg, Backward, Forward, Kernel, Result, WgpuExec};

use crate::common::gpu::{grad_rows, grad_whole, quads, source, word};

static FORWARD: Source = source("kernels/src/residual/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/residual/backward.wgsl", include_str!("backward.wgsl"));

pub(super) fn forward(exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let (rows, width) = (spec.shape.rows(), spec.shape.last());
    let gamma = io.inputs.get(2);
    let kernel = Kernel::new(&FORWARD, "main").when("SCALED", gamma.is_some());
    let gamma = Arg::or_nothing(gamma.map(|gamma| gamma.whole()))?;
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, gamma, io.output.rows()?];
    // Without LayerScale there are no columns: elements may be cut anywhere.
    let (rows, width) = if io.inputs.len() > 2 { (rows, width) } else { (rows * width, 1) };
    let params = |part: std::ops::Range<usize>| [word(part.len() * width), word(width), 0, 0];
    exec.launch_rows(&kernel, rows, &args, |rows| quads(rows * width), params)
}

pub(super) fn backward(exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let spec = io.d_output.spec();
    let (rows, width) = (spec.shape.rows(), spec.shape.last());
    if let Some((d_branch, add)) = grad_rows(io.d_inputs[1].as_ref())? {
        let kernel = Kernel::new(&BACKWARD, "branch").when("ADD", add);
        let args = [io.d_output.rows()?, io.inputs[2].whole()?, d_branch];
        let params = |part: std::ops::Range<usize>| [word(part.len() * width), word(width), 0, 0];
        exec.launch_rows(&kernel, rows, &args, |rows| (rows * width).div_ceil(64), params)?;
    }
    if let Some((d_gamma, add)) = grad_whole(io.d_inputs[2].as_ref())? {
        let kernel = Kernel::new(&BACKWARD, "gamma").when("ADD", add);
        let args = [io.d_output.whole()?, io.inputs[1].whole()?, d_gamma];
        exec.launch(&kernel, &[word(rows), word(width), 0, 0], &args, width)?;
    }
    Ok(())
}
