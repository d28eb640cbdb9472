//! The launch on CUDA.

use engine::device::cuda::{CudaExec, Grid, Kernel};
use engine::device::source::Source;
use engine::{Forward, Result};

use super::NAME;
use crate::common::cuda::source;

static FORWARD: Source = source("kernels/src/correct/forward.cu", include_str!("forward.cu"));

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let spec = io.inputs[0].spec();
    let [rows, classes] = spec.array(NAME, "logits")?;
    let buffers = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let params = [buffers.as_slice(), &[rows.into(), classes.into()]].concat();
    exec.launch(Kernel::new(&FORWARD, "forward", spec.dtype), Grid::new(rows.div_ceil(8), 256), &params)
}
