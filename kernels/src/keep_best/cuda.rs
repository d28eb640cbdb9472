//! Launches on CUDA: the samples, then the scores.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::cuda::source;
use crate::common::specs::per_sample_elements;

static UPDATE: Source = source("kernels/src/keep_best/update.cu", include_str!("update.cu"));

pub(super) fn run(exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([best, best_score], [candidate, score]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs two states and two inputs"));
    };
    let spec = candidate.spec();
    let (count, width, samples) = (spec.elements(), per_sample_elements(&spec), score.spec().elements());
    if width == 0 {
        return Ok(());
    }
    let [best, best_score, score] = [best.address()?, best_score.address()?, score.address()?];
    let params = [best, best_score, candidate.address()?, score, count.into(), width.into()];
    exec.launch(Kernel::new(&UPDATE, "samples", spec.dtype), Grid::each(count), &params)?;
    let params = [best_score, score, samples.into()];
    exec.launch(Kernel::new(&UPDATE, "scores", spec.dtype), Grid::each(samples), &params)
}
