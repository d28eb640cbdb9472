//! Launches on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Backward, Forward, Result};

use super::{NAME, Pool};
use crate::common::cuda::{flat_grid, grad_at, source};

static FORWARD: Source = source("kernels/src/pool/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/pool/backward.cu", include_str!("backward.cu"));

pub(super) fn forward(pool: Pool, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let [b, n, d] = io.inputs[0].spec().array(NAME, "x")?;
    let (first, tokens) = pool.range(n);
    let params = [io.inputs[0].address()?, io.output.address()?, n.into(), d.into(), first.into(), tokens.into()];
    let kernel = Kernel::new(&FORWARD, "forward", io.output.spec().dtype);
    exec.launch(kernel, Grid::new(b * d.div_ceil(32), 256), &params)
}

pub(super) fn backward(pool: Pool, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let spec = io.inputs[0].spec();
    let [_, n, d] = spec.array(NAME, "x")?;
    let (count, (first, tokens)) = (spec.elements(), pool.range(n));
    let sizes = [count, n, d, first, tokens].map(Into::into);
    let params = [[io.d_output.address()?, dx].as_slice(), &sizes, &[add.into()]].concat();
    exec.launch(Kernel::new(&BACKWARD, "backward", spec.dtype), flat_grid(count), &params)
}
