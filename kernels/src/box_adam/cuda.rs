//! Launches on CUDA.

use bytemuck::{Pod, Zeroable};
use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Error, Real, Result, UpdateIo};

use super::{B1, B2, EPS, NAME};
use crate::common::cuda::source;
use crate::common::specs::per_sample_elements;

static UPDATE: Source = source("kernels/src/box_adam/update.cu", include_str!("update.cu"));

/// As `Step` in update.cu.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Step {
    states: [Param; 3],
    inputs: [Param; 5],
    count: u64,
    width: u64,
    factors: [f32; 4],
    eps: f32,
    padding: u32,
}

pub(super) fn run(exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([x, m, v], [g, low, high, rates, active]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs three states and five inputs"));
    };
    let spec = g.spec();
    let params = Step {
        states: [x.address()?, m.address()?, v.address()?],
        inputs: [g.address()?, low.address()?, high.address()?, rates.address()?, active.address()?],
        count: spec.elements() as u64,
        width: per_sample_elements(&spec) as u64,
        factors: [B1, B2, 1.0 - B1, 1.0 - B2].map(f32::from_f64),
        eps: f32::from_f64(EPS),
        padding: 0,
    };
    exec.launch_with(Kernel::new(&UPDATE, "update", spec.dtype), Grid::each(spec.elements()), &params)
}
