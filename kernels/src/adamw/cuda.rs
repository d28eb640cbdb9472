//! Launches on CUDA: what all elements share is computed on the device, where the counter and the learning rate lie.

use bytemuck::{Pod, Zeroable};
use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Error, Real, Result, UpdateIo};

use super::{AdamW, NAME};
use crate::common::cuda::{decay_params, source};

static UPDATE: Source = source("kernels/src/adamw/update.cu", include_str!("update.cu"));

/// Bytes of what all elements share: four floats.
pub(super) const SCRATCH: usize = 16;

/// As `Prepare` in update.cu.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Prepare {
    steps: Param,
    lr: Param,
    clip: Param,
    factors: Param,
    log_b1: f64,
    log_b2: f64,
}

pub(super) fn run(options: &AdamW, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let [p, m, v, steps] = &*io.state else { return Err(Error::new(NAME, "needs four states")) };
    let [g, lr, clip] = io.inputs else { return Err(Error::new(NAME, "needs three inputs")) };
    let spec = g.spec();
    let count = spec.elements();
    let (b1, b2) = options.betas;
    let factors = io.scratch.address()?;
    let prepare = Prepare {
        steps: steps.address()?,
        lr: lr.address()?,
        clip: clip.address()?,
        factors,
        log_b1: b1.ln(),
        log_b2: b2.ln(),
    };
    exec.launch_with(Kernel::new(&UPDATE, "prepare", spec.dtype), Grid::new(1, 32), &prepare)?;
    let buffers = [p.address()?, m.address()?, v.address()?, g.address()?, factors];
    let numbers = [b1, b2, 1.0 - b1, 1.0 - b2, options.eps].map(|x| f32::from_f64(x).into());
    let [pieces, piece_count] = decay_params(exec, &options.decay)?;
    let params = [&buffers[..], &numbers, &[pieces, piece_count, count.into()]].concat();
    exec.launch(Kernel::new(&UPDATE, "update", spec.dtype), Grid::each(count.div_ceil(4)), &params)
}
