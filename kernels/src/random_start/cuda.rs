//! Launches on CUDA: one for all starts but directions, whose norms come first.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Error, Result, Spec, UpdateIo};

use super::{NAME, RandomStart, Start};
use crate::common::cuda::{law_params, parts, source};
use crate::common::random::Law;
use crate::common::specs::per_sample_elements;

static UPDATE: Source = source("kernels/src/random_start/update.cu", include_str!("update.cu"));

/// Bytes of one sum per block, where norms are taken.
pub(super) fn scratch(start: Start, delta: &Spec) -> usize {
    if start == Start::L2 { parts(delta) * size_of::<f64>() } else { 0 }
}

pub(super) fn run(update: &RandomStart, exec: &mut CudaExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [x, ids, eps, state]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and four inputs"));
    };
    let spec = x.spec();
    let (width, grid) = (per_sample_elements(&spec).into(), Grid::new(parts(&spec), 256));
    let normal = Law::Normal { mean: 0.0, std: 1.0 };
    let (law, deviation) = match update.start {
        Start::Zero => (Law::Uniform { low: 0.0, width: 0.0 }, Some(0.0)),
        Start::Uniform => (Law::Uniform { low: -1.0, width: 2.0 }, None),
        Start::Normal(std) => (normal, Some(std)),
        Start::L2 => (normal, None),
    };
    let law = law_params(exec, law)?;
    let [ids, state] = [ids.address()?, state.address()?];
    let stream = update.stream.0.into();
    let sums = if update.start == Start::L2 { io.scratch.address()? } else { Param::NULL };
    if update.start == Start::L2 {
        let params = [&[ids, state, stream], &law[..], &[sums, width]].concat();
        exec.launch(Kernel::new(&UPDATE, "measure", spec.dtype), grid, &params)?;
    }
    let eps = if deviation.is_some() { Param::NULL } else { eps.address()? };
    let placed = [delta.address()?, x.address()?, ids, eps, deviation.unwrap_or_default().into(), state, stream];
    let params = [&placed[..], &law, &[sums, width]].concat();
    exec.launch(Kernel::new(&UPDATE, "place", spec.dtype), grid, &params)
}
