//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::{Limit, NAME};
use crate::common::cuda::source;

static UPDATE: Source = source("kernels/src/attack_watch/update.cu", include_str!("update.cu"));

pub(super) fn run(limit: Limit, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([progress, active], [margins]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs two states and an input"));
    };
    let rows = margins.spec().elements();
    let [progress, active, values] = [progress.address()?, active.address()?, margins.address()?];
    let params = [progress, active, values, rows.into(), limit.steps.into(), limit.stop.into()];
    exec.launch(Kernel::new(&UPDATE, "update", margins.spec().dtype), Grid::each(rows), &params)
}
