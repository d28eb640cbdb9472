//! Launches on wgpu: four channels at a time.

use engine::device::source::Source;
use engine::{Arg, Backward, Forward, Kernel, Result, Spec, WgpuExec};

use super::Normalise;
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/normalise/forward.wgsl", include_str!("forward.wgsl"));

/// Channels of one launch.
const CHANNELS: usize = 4;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    mean: [f32; CHANNELS],
    factor: [f32; CHANNELS],
    count: u32,
    start: u32,
    pixels: u32,
    channels: u32,
    first: u32,
    padding: [u32; 3],
}

pub(super) fn forward(op: &Normalise, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    launch(op, exec, io.output.spec(), [io.inputs[0].rows()?, io.output.rows()?], true, false)
}

pub(super) fn backward(op: &Normalise, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    launch(op, exec, io.d_output.spec(), [io.d_output.rows()?, dx], false, add)
}

fn launch(op: &Normalise, exec: &mut WgpuExec, spec: Spec, args: [Arg; 2], shifted: bool, add: bool) -> Result<()> {
    let pixels: usize = spec.dims().iter().skip(2).product();
    let channels = op.mean.len();
    let kernel = Kernel::new(&FORWARD, "main").when("ADD", add);
    for first in (0..channels).step_by(CHANNELS) {
        let (mut mean, mut factor) = ([0.0; CHANNELS], [0.0; CHANNELS]);
        for (at, (&m, &std)) in op.mean.iter().zip(&op.std).skip(first).take(CHANNELS).enumerate() {
            mean[at] = if shifted { m } else { 0.0 };
            factor[at] = 1.0 / std;
        }
        exec.launch_each(&kernel, spec.elements(), &args, |part| Params {
            mean,
            factor,
            count: word(part.len()),
            start: word(part.start % (channels * pixels).max(1)),
            pixels: word(pixels),
            channels: word(channels),
            first: word(first),
            padding: [0; 3],
        })?;
    }
    Ok(())
}
