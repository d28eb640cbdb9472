//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::NAME;
use crate::common::cuda::source;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/momentum/update.cu", include_str!("update.cu"));

pub(super) fn run(exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([velocity], [g, decay]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and two inputs"));
    };
    let spec = g.spec();
    let params = [velocity.address()?, g.address()?, decay.address()?, per_sample_elements(&spec).into()];
    exec.launch(Kernel::new(&UPDATE, "update", spec.dtype), Grid::new(samples(&spec), 256), &params)
}
