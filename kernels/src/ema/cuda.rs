//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Error, Real, Result, UpdateIo};

use super::NAME;
use crate::common::cuda::source;

static UPDATE: Source = source("kernels/src/ema/update.cu", include_str!("update.cu"));

pub(super) fn run(decay: f64, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([average], [p]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and one input"));
    };
    let spec = p.spec();
    let count = spec.elements();
    let params = [average.address()?, p.address()?, f32::from_f64(1.0 - decay).into(), count.into()];
    exec.launch(Kernel::new(&UPDATE, "update", spec.dtype), Grid::each(count.div_ceil(4)), &params)
}
