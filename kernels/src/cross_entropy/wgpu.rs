//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Backward, Forward, Kernel, Real, Result, WgpuExec};

use super::{CrossEntropy, NAME};
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/cross_entropy/forward.wgsl", include_str!("forward.wgsl"));
static BACKWARD: Source = source("kernels/src/cross_entropy/backward.wgsl", include_str!("backward.wgsl"));

impl CrossEntropy {
    fn entry(&self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Labels { .. } => "labels",
        }
    }

    fn smoothing(&self) -> f64 {
        match *self {
            Self::Soft => 0.0,
            Self::Labels { smoothing } => smoothing,
        }
    }
}

fn bits(x: f64) -> u32 {
    f32::from_f64(x).to_bits()
}

pub(super) fn forward(op: &CrossEntropy, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let [rows, classes] = io.inputs[0].spec().array(NAME, "logits")?;
    let kernel = Kernel::new(&FORWARD, op.entry()).when("SMOOTH", op.smoothing() > 0.0);
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.output.rows()?];
    exec.launch_each(&kernel, rows, &args, |part| [word(part.len()), word(classes), bits(op.smoothing()), 0])
}

pub(super) fn backward(op: &CrossEntropy, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some((dz, add)) = grad_rows(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let [rows, classes] = io.inputs[0].spec().array(NAME, "logits")?;
    let off = op.smoothing() / f64::from(word(classes));
    let rest = op.smoothing() - off;
    let kernel = Kernel::new(&BACKWARD, op.entry()).when("ADD", add);
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.d_output.rows()?, dz];
    exec.launch_each(&kernel, rows, &args, |part| {
        [word(part.len()), word(classes), bits(1.0 - rest), bits(off), bits(rest), 0, 0, 0]
    })
}
