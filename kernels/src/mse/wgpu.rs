//! Launches on wgpu: each side's gradient for itself, since both may be added to one value's.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Real, Result, WgpuExec};

use crate::common::gpu::{grad_rows, source, word};
use crate::common::specs::{per_sample_elements, samples};

static FORWARD: Source = source("kernels/src/mse/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/mse/backward.wgsl", include_str!("backward.wgsl"));

/// `times` or, of the mean, that over the elements of a sample.
fn scale(times: f32, width: usize, mean: bool) -> u32 {
    (if mean { times / f32::from_usize(width) } else { times }).to_bits()
}

pub(super) fn forward(mean: bool, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let spec = io.inputs[0].spec();
    let (rows, width) = (samples(&spec), per_sample_elements(&spec));
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main");
    let params = |part: std::ops::Range<usize>| [word(part.len()), word(width), scale(1.0, width, mean), 0];
    exec.launch_rows(&kernel, rows, &args, |rows| rows, params)
}

pub(super) fn backward(mean: bool, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let spec = io.inputs[0].spec();
    let (rows, width) = (samples(&spec), per_sample_elements(&spec));
    let (a, b) = (io.inputs[0].rows()?, io.inputs[1].rows()?);
    for (grad, [this, other]) in io.d_inputs.iter().zip([[a, b], [b, a]]) {
        let Some((gradient, add)) = grad_rows(grad.as_ref())? else { continue };
        let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add);
        let args = [this, other, io.d_output.rows()?, gradient];
        let params = |part: std::ops::Range<usize>| [word(part.len() * width), word(width), scale(2.0, width, mean), 0];
        exec.launch_rows(&kernel, rows, &args, |rows| (rows * width).div_ceil(64), params)?;
    }
    Ok(())
}
