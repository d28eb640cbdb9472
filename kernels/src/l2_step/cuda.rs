//! Launches on CUDA: what the norms are made of, then the step with its projection.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Error, Result, Spec, UpdateIo};

use super::NAME;
use crate::common::cuda::{parts, source};
use crate::common::specs::per_sample_elements;

static UPDATE: Source = source("kernels/src/l2_step/update.cu", include_str!("update.cu"));

/// Bytes of three sums per block.
pub(super) fn scratch(delta: &Spec) -> usize {
    3 * parts(delta) * size_of::<f64>()
}

pub(super) fn run(exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [g, x, eps, alpha, active @ ..]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and at least four inputs"));
    };
    let spec = g.spec();
    let (width, grid) = (per_sample_elements(&spec).into(), Grid::new(parts(&spec), 256));
    let active = Param::or_null(active.first().map(|active| active.address()))?;
    let [delta, g, sums] = [delta.address()?, g.address()?, io.scratch.address()?];
    exec.launch(Kernel::new(&UPDATE, "measure", spec.dtype), grid, &[delta, g, active, sums, width])?;
    let params = [delta, g, x.address()?, eps.address()?, alpha.address()?, active, sums, width];
    exec.launch(Kernel::new(&UPDATE, "step", spec.dtype), grid, &params)
}
