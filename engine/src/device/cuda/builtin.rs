//! The launches that the engine itself needs.

use super::{CudaExec, Grid, Kernel, Param};
use crate::device::source::Source;
use crate::device::{Buf, BufMut, Builtin};
use crate::dtype::DType;
use crate::error::Result;

static SOURCE: Source =
    Source { file: "engine/src/device/cuda/builtin.cu", text: include_str!("builtin.cu"), library: &[] };

pub(in crate::device) fn builtin(
    exec: &mut CudaExec,
    what: Builtin,
    target: &BufMut,
    source: Option<Buf>,
) -> Result<()> {
    let entry = match what {
        Builtin::Ones => "ones",
        Builtin::Zeros => "zeros",
        Builtin::Copy => "copy",
        Builtin::Add => "add",
        Builtin::Multiply => "multiply",
    };
    let source = what.source(source)?;
    let spec = target.spec();
    let bytes = spec.dtype.size();
    let count = spec.elements();
    let kernel = Kernel::new(&SOURCE, entry, DType::F32);
    let source = Param::or_null(source.map(|source| source.address()))?;
    exec.launch(kernel, Grid::each(count), &[target.address()?, source, count.into(), (bytes == 2).into()])
}
