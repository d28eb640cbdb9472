//! The launch on wgpu.

use engine::device::source::Source;
use engine::{Forward, Kernel, Result, WgpuExec};

use super::NAME;
use crate::common::gpu::{source, word};

static FORWARD: Source = source("kernels/src/correct/forward.wgsl", include_str!("forward.wgsl"));

pub(super) fn forward(exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let [rows, classes] = io.inputs[0].spec().array(NAME, "logits")?;
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main");
    exec.launch_each(&kernel, rows, &args, |part| [word(part.len()), word(classes), 0, 0])
}
