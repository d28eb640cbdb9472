//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Forward, Result};

use super::{ProjectConflict, Projection};
use crate::common::cuda::source;
use crate::common::specs::{per_sample_elements, samples};

static FORWARD: Source = source("kernels/src/project_conflict/forward.cu", include_str!("forward.cu"));

pub(super) fn forward(op: &ProjectConflict, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.output.spec();
    let [sum, g, h] = [io.inputs[0].address()?, io.inputs[1].address()?, io.inputs[2].address()?];
    let published = op.projection == Projection::Published;
    let numbers = [per_sample_elements(&spec).into(), op.weight.into(), published.into()];
    let params = [&[sum, g, h, io.output.address()?][..], &numbers].concat();
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), Grid::new(samples(&spec), 256), &params)
}
