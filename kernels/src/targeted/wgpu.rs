//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Real, Result, WgpuExec};

use super::{NAME, Scale, TINY};
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/targeted/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/targeted/backward.wgsl", include_str!("backward.wgsl"));

fn params(rows: usize, classes: usize) -> [u32; 4] {
    [word(rows), word(classes), f32::from_f64(TINY).to_bits(), 0]
}

pub(super) fn forward(scale: Scale, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let [rows, classes] = io.inputs[0].spec().array(NAME, "logits")?;
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.inputs[2].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main").when("SCALED", scale == Scale::Dlr);
    exec.launch_each(&kernel, rows, &args, |part| params(part.len(), classes))
}

pub(super) fn backward(scale: Scale, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dz, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let [rows, classes] = io.inputs[0].spec().array(NAME, "logits")?;
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.inputs[2].rows()?, io.d_output.rows()?, dz];
    let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add).when("SCALED", scale == Scale::Dlr);
    exec.launch_each(&kernel, rows, &args, |part| params(part.len(), classes))
}
