//! Launches on CUDA: the samples, then their rows.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::cuda::source;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/square_keep/update.cu", include_str!("update.cu"));

pub(super) fn run(queries: u32, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([best, progress], [trial, margins]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs two states and two inputs"));
    };
    let spec = trial.spec();
    let [best, progress, margins] = [best.address()?, progress.address()?, margins.address()?];
    let (count, width) = (spec.elements(), per_sample_elements(&spec));
    let params = [best, progress, trial.address()?, margins, count.into(), width.into()];
    exec.launch(Kernel::new(&UPDATE, "samples", spec.dtype), Grid::each(count), &params)?;
    let params = [progress, margins, samples(&spec).into(), queries.into()];
    exec.launch(Kernel::new(&UPDATE, "rows", spec.dtype), Grid::each(samples(&spec)), &params)
}
