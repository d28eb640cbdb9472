//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Real, Result, WgpuExec};

use super::NAME;
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/margin/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/margin/backward.wgsl", include_str!("backward.wgsl"));

fn params(rows: usize, classes: usize, cap: Option<f64>) -> [u32; 4] {
    [word(rows), word(classes), cap.map_or(0, |cap| f32::from_f64(cap).to_bits()), 0]
}

pub(super) fn forward(cap: Option<f64>, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let [rows, classes] = io.inputs[0].spec().array(NAME, "logits")?;
    let kernel = Kernel::new(&FORWARD, "main").when("CAPPED", cap.is_some());
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.output.rows()?];
    exec.launch_each(&kernel, rows, &args, |part| params(part.len(), classes, cap))
}

pub(super) fn backward(cap: Option<f64>, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dz, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let [rows, classes] = io.inputs[0].spec().array(NAME, "logits")?;
    let kernel = Kernel::new(&BACKWARD, "main").when("CAPPED", cap.is_some()).when("ADD", add);
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.d_output.rows()?, dz];
    exec.launch_each(&kernel, rows, &args, |part| params(part.len(), classes, cap))
}
