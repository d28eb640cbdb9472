//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::{Limit, NAME};
use crate::common::cuda::source;
use crate::common::progress::Ball;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/fab_look/update.cu", include_str!("update.cu"));

pub(super) fn run(ball: Ball, limit: Limit, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([delta, nearest, progress], [margins]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs three states and an input"));
    };
    let spec = delta.spec();
    let params = [
        delta.address()?,
        nearest.address()?,
        progress.address()?,
        margins.address()?,
        per_sample_elements(&spec).into(),
        limit.steps.into(),
        limit.stop.into(),
        (ball == Ball::L2).into(),
    ];
    exec.launch(Kernel::new(&UPDATE, "update", spec.dtype), Grid::new(samples(&spec), 256), &params)
}
