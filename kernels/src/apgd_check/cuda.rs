//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Real, Result, UpdateIo};

use super::{NAME, Schedule};
use crate::common::cuda::source;

static UPDATE: Source = source("kernels/src/apgd_check/update.cu", include_str!("update.cu"));

pub(super) fn run(schedule: Schedule, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([progress], [losses, margins]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and two inputs"));
    };
    let rows = losses.spec().elements();
    let [_, shorter, shortest] = schedule.periods();
    let params = [
        progress.address()?,
        losses.address()?,
        margins.address()?,
        rows.into(),
        schedule.steps.into(),
        f32::from_f64(schedule.rho).into(),
        schedule.stop.into(),
        shorter.into(),
        shortest.into(),
    ];
    exec.launch(Kernel::new(&UPDATE, "update", losses.spec().dtype), Grid::each(rows), &params)
}
