//! Launches on wgpu: each side's gradient for itself, since both may be added to one value's.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Result, WgpuExec};

use super::NAME;
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/softmax_distance/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/softmax_distance/backward.wgsl", include_str!("backward.wgsl"));

pub(super) fn forward(exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let [rows, classes] = io.inputs[0].spec().array(NAME, "a")?;
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main");
    exec.launch_each(&kernel, rows, &args, |part| [word(part.len()), word(classes), 0, 0])
}

pub(super) fn backward(exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let [rows, classes] = io.inputs[0].spec().array(NAME, "a")?;
    let (a, b) = (io.inputs[0].rows()?, io.inputs[1].rows()?);
    for (grad, [this, other]) in io.d_inputs.iter().zip([[a, b], [b, a]]) {
        let Some((gradient, add)) = grad_rows(grad.as_ref())? else { continue };
        let kernel = Kernel::new(&BACKWARD, "main").when("ADD", add);
        let args = [this, other, io.d_output.rows()?, gradient];
        exec.launch_each(&kernel, rows, &args, |part| [word(part.len()), word(classes), 0, 0])?;
    }
    Ok(())
}
