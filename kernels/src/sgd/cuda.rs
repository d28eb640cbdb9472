//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Error, Real, Result, UpdateIo};

use super::{NAME, Sgd};
use crate::common::cuda::{decay_params, source};

static UPDATE: Source = source("kernels/src/sgd/update.cu", include_str!("update.cu"));

pub(super) fn run(options: &Sgd, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let [p, momentum @ ..] = &*io.state else { return Err(Error::new(NAME, "needs a state")) };
    let [g, lr, clip] = io.inputs else { return Err(Error::new(NAME, "needs three inputs")) };
    let spec = g.spec();
    let count = spec.elements();
    let u = Param::or_null(momentum.first().map(|u| u.address()))?;
    let mu = f32::from_f64(options.momentum);
    let [pieces, piece_count] = decay_params(exec, &options.decay)?;
    let buffers = [p.address()?, u, g.address()?, lr.address()?, clip.address()?];
    let numbers = [mu.into(), options.nesterov.into(), pieces, piece_count, count.into()];
    let params = [buffers, numbers].concat();
    exec.launch(Kernel::new(&UPDATE, "update", spec.dtype), Grid::each(count.div_ceil(4)), &params)
}
