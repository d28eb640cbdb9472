//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::cuda::source;
use crate::common::progress::Ball;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/fab_step/update.cu", include_str!("update.cu"));

pub(super) fn run(ball: Ball, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [w, difference, x, progress]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and four inputs"));
    };
    let spec = w.spec();
    let params = [
        delta.address()?,
        w.address()?,
        difference.address()?,
        x.address()?,
        progress.address()?,
        per_sample_elements(&spec).into(),
        (ball == Ball::L2).into(),
    ];
    exec.launch(Kernel::new(&UPDATE, "update", spec.dtype), Grid::new(samples(&spec), 256), &params)
}
