//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Result, WgpuExec};

use super::{Dims, LogReceived};
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/log_received/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/log_received/backward.wgsl", include_str!("backward.wgsl"));

fn params(count: usize, Dims { n, h, d, .. }: Dims) -> [u32; 4] {
    [count, n, h, d].map(word)
}

pub(super) fn forward(op: &LogReceived, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let dims = op.dims(&io.inputs[0].spec())?;
    let args = [io.inputs[0].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main");
    exec.launch_rows(&kernel, dims.b, &args, |samples| samples, |part| params(part.len(), dims))
}

pub(super) fn backward(op: &LogReceived, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let dims = op.dims(&io.inputs[0].spec())?;
    let args = [io.inputs[0].rows()?, io.d_output.rows()?, dx];
    let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add);
    let groups = |samples: usize| (samples * dims.n).div_ceil(64);
    exec.launch_rows(&kernel, dims.b, &args, groups, |part| params(part.len() * dims.n, dims))
}
