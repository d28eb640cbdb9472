//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Forward, Kernel, Result, WgpuExec};

use super::{ProjectConflict, Projection};
use crate::common::gpu::{source, word};
use crate::common::specs::{per_sample_elements, samples};

static FORWARD: Source = source("kernels/src/project_conflict/forward.wgsl", include_str!("forward.wgsl"));

pub(super) fn forward(op: &ProjectConflict, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let width = word(per_sample_elements(&spec));
    let args = [io.inputs[0].rows()?, io.inputs[1].rows()?, io.inputs[2].rows()?, io.output.rows()?];
    let kernel = Kernel::new(&FORWARD, "main").when("PUBLISHED", op.projection == Projection::Published);
    let params = |part: std::ops::Range<usize>| [word(part.len()), width, op.weight.to_bits(), 0];
    exec.launch_rows(&kernel, samples(&spec), &args, |samples| samples, params)
}
