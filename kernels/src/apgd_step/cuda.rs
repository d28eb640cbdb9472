//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::cuda::source;
use crate::common::progress::Ball;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/apgd_step/update.cu", include_str!("update.cu"));

pub(super) fn run(ball: Ball, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([delta, before, best, best_gradient, fooling], [g, x, progress]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs five states and three inputs"));
    };
    let spec = g.spec();
    let params = [
        delta.address()?,
        before.address()?,
        best.address()?,
        best_gradient.address()?,
        fooling.address()?,
        g.address()?,
        x.address()?,
        progress.address()?,
        spec.elements().into(),
        per_sample_elements(&spec).into(),
    ];
    match ball {
        Ball::Linf => exec.launch(Kernel::new(&UPDATE, "linf", spec.dtype), Grid::each(spec.elements()), &params),
        Ball::L2 => exec.launch(Kernel::new(&UPDATE, "l2", spec.dtype), Grid::new(samples(&spec), 256), &params),
    }
}
