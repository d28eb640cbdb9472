//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::{FabChoose, NAME};
use crate::common::cuda::source;
use crate::common::progress::Ball;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/fab_choose/update.cu", include_str!("update.cu"));

pub(super) fn run(update: &FabChoose, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([kept, kept_difference, distance], [gradient, difference, labels]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs three states and three inputs"));
    };
    let spec = gradient.spec();
    let params = [
        kept.address()?,
        kept_difference.address()?,
        distance.address()?,
        gradient.address()?,
        difference.address()?,
        labels.address()?,
        per_sample_elements(&spec).into(),
        update.class.into(),
        (update.ball == Ball::L2).into(),
    ];
    exec.launch(Kernel::new(&UPDATE, "update", spec.dtype), Grid::new(samples(&spec), 256), &params)
}
