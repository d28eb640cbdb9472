//! Launches on CUDA: partial sums of each gradient, then one launch over them all.

use bytemuck::{Pod, Zeroable};
use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Forward, Result, Spec};

use super::TINY;
use crate::common::cuda::source;

static FORWARD: Source = source("kernels/src/global_norm/forward.cu", include_str!("forward.cu"));

/// Elements whose squares one block adds: a few million of them make several blocks per multiprocessor.
const BLOCK: usize = 8192;

/// As `Finish` in forward.cu.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Finish {
    sums: Param,
    result: Param,
    count: Param,
    max_norm: f64,
    tiny: f64,
}

fn blocks(gradient: &Spec) -> usize {
    gradient.elements().div_ceil(BLOCK)
}

/// Bytes of one sum per block.
pub(super) fn scratch(inputs: &[Spec]) -> usize {
    inputs.iter().map(blocks).sum::<usize>() * size_of::<f64>()
}

pub(super) fn forward(max_norm: f64, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let storage = io.output.spec().dtype;
    let sums = io.scratch.address()?;
    let mut count = 0;
    for gradient in io.inputs {
        let spec = gradient.spec();
        let at = sums.after(count * size_of::<f64>());
        let params = [gradient.address()?, at, spec.elements().into(), BLOCK.into()];
        exec.launch(Kernel::new(&FORWARD, "partial", storage), Grid::new(blocks(&spec), 256), &params)?;
        count += blocks(&spec);
    }
    let finish = Finish { sums, result: io.output.address()?, count: count.into(), max_norm, tiny: TINY };
    exec.launch_with(Kernel::new(&FORWARD, "finish", storage), Grid::new(1, 256), &finish)
}
