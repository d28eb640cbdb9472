//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::cuda::source;
use crate::common::specs::per_sample_elements;

static UPDATE: Source = source("kernels/src/linf_step/update.cu", include_str!("update.cu"));

pub(super) fn run(exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [g, x, eps, alpha, active @ ..]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and at least four inputs"));
    };
    let spec = g.spec();
    let (count, width) = (spec.elements(), per_sample_elements(&spec));
    let active = Param::or_null(active.first().map(|active| active.address()))?;
    let [delta, g, x] = [delta.address()?, g.address()?, x.address()?];
    let params = [delta, g, x, eps.address()?, alpha.address()?, active, count.into(), width.into()];
    exec.launch(Kernel::new(&UPDATE, "update", spec.dtype), Grid::each(count.div_ceil(4)), &params)
}
