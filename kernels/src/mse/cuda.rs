//! Launches on CUDA: each side's gradient for itself, since both may be added to one value's.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Forward, Real, Result};

use crate::common::cuda::{grad_at, row_grid, source};
use crate::common::specs::{per_sample_elements, samples};

static FORWARD: Source = source("kernels/src/mse/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/mse/backward.cu", include_str!("backward.cu"));

/// Elements of a sample that are worth the widest blocks.
const WIDE: usize = 4096;

/// `times` or, of the mean, that over the elements of a sample.
fn scale(times: f32, width: usize, mean: bool) -> Param {
    (if mean { times / f32::from_usize(width) } else { times }).into()
}

pub(super) fn forward(mean: bool, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.inputs[0].spec();
    let (rows, width) = (samples(&spec), per_sample_elements(&spec));
    let buffers = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let params = [buffers.as_slice(), &[width.into(), scale(1.0, width, mean)]].concat();
    let threads = if width < WIDE { 256 } else { 1024 };
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), Grid::new(rows, threads), &params)
}

pub(super) fn backward(mean: bool, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let spec = io.inputs[0].spec();
    let (rows, width) = (samples(&spec), per_sample_elements(&spec));
    let (a, b, d) = (io.inputs[0].address()?, io.inputs[1].address()?, io.d_output.address()?);
    for (grad, [this, other]) in io.d_inputs.iter().zip([[a, b], [b, a]]) {
        let Some((gradient, add)) = grad_at(grad.as_ref())? else { continue };
        let params = [this, other, d, gradient, width.into(), scale(2.0, width, mean), add.into()];
        exec.launch(Kernel::new(&BACKWARD, "backward", spec.dtype), row_grid(rows, width), &params)?;
    }
    Ok(())
}
