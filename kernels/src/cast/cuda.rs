//! Launches on CUDA: from f32 to bf16 and back.

use engine::device::cuda::{CudaExec, Kernel, Piece};
use engine::device::source::Source;
use engine::{Backward, Buf, BufMut, DType, Error, Forward, Mode, Result};

use super::NAME;
use crate::common::cuda::source;

static FORWARD: Source = source("kernels/src/cast/forward.cu", include_str!("forward.cu"));

/// Elements of a block, four for each of its threads.
const BLOCK: usize = 1024;

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    convert(exec, &io.inputs[0], &io.output, Mode::Write)
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    match io.d_inputs.first().and_then(Option::as_ref) {
        Some(grad) => convert(exec, &io.d_output, &grad.buf, grad.mode),
        None => Ok(()),
    }
}

fn convert(exec: &mut CudaExec, from: &Buf, to: &BufMut, mode: Mode) -> Result<()> {
    let entry = match (from.spec().dtype, to.spec().dtype) {
        (DType::F32, DType::Bf16) => "narrow",
        (DType::Bf16, DType::F32) => "widen",
        (from, to) => return Err(Error::new(NAME, "CUDA stores f32 and bf16 only").with("from", from).with("to", to)),
    };
    let count = from.spec().elements();
    let (x, y) = (from.address()?, to.address()?);
    let piece = Piece {
        reads: (x, from.spec().bytes()),
        writes: (y, to.spec().bytes()),
        blocks: count.div_ceil(BLOCK),
        words: [x, y, count.into(), (mode == Mode::Add).into()],
    };
    exec.launch_piece(Kernel::new(&FORWARD, entry, DType::F32), 256, piece)
}
