//! Launches on CUDA.

use bytemuck::{Pod, Zeroable};
use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Error, Result, UpdateIo};

use super::{NAME, Schedule, SquareTry};
use crate::common::cuda::source;
use crate::common::progress::Ball;

static UPDATE: Source = source("kernels/src/square_try/update.cu", include_str!("update.cu"));

/// As `Params` of the kernels.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    /// trial, best, images, ids, progress, random state, pyramids.
    buffers: [Param; 7],
    schedule: Schedule,
}

pub(super) fn run(update: &SquareTry, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([trial], [best, x, ids, progress, state, pyramids]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and six inputs"));
    };
    let spec = best.spec();
    let [b, c, h, w] = spec.array(NAME, "best")?;
    let params = Params {
        buffers: [
            trial.address()?,
            best.address()?,
            x.address()?,
            ids.address()?,
            progress.address()?,
            state.address()?,
            pyramids.address()?,
        ],
        schedule: Schedule::of(update, [b, c, h, w]),
    };
    let (entry, grid) = match update.search.ball {
        Ball::Linf => ("linf", Grid::each(spec.elements())),
        Ball::L2 => ("l2", Grid::new(b, 256)),
    };
    exec.launch_with(Kernel::new(&UPDATE, entry, spec.dtype), grid, &params)
}
