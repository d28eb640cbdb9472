//! Launches on wgpu: each side's gradient for itself, since both may be added to one value's.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Real, Result, WgpuExec};

use super::NAME;
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/mart/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/mart/backward.wgsl", include_str!("backward.wgsl"));

fn params(rows: usize, classes: usize, beta: f64) -> [u32; 4] {
    [word(rows), word(classes), f32::from_f64(beta).to_bits(), 0]
}

pub(super) fn forward(beta: f64, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let [rows, classes] = io.inputs[0].spec().array(NAME, "clean")?;
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.inputs[2].rows()?, io.output.rows()?];
    exec.launch_each(&Kernel::new(&FORWARD, "main"), rows, &args, |part| params(part.len(), classes, beta))
}

pub(super) fn backward(beta: f64, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let [rows, classes] = io.inputs[0].spec().array(NAME, "clean")?;
    let [a, b, y, d_loss] = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.inputs[2].rows()?, io.d_output.rows()?];
    for (grad, entry) in io.d_inputs.iter().zip(["first", "second"]) {
        let Some((gradient, add)) = grad_rows(grad.as_ref())? else { continue };
        let kernel = Kernel::new(&BACKWARD, entry).when("ADD", add);
        exec.launch_each(&kernel, rows, &[a, b, y, d_loss, gradient], |part| params(part.len(), classes, beta))?;
    }
    Ok(())
}
