//! The launches that the engine itself needs.

use super::{Arg, Kernel, WgpuExec, exec};
use crate::device::source::Source;
use crate::device::{Buf, BufMut, Builtin};
use crate::error::Result;

static SOURCE: Source =
    Source { file: "engine/src/device/webgpu/builtin.wgsl", text: include_str!("builtin.wgsl"), library: &[] };

pub(in crate::device) fn builtin(
    exec: &mut WgpuExec,
    what: Builtin,
    target: &BufMut,
    source: Option<Buf>,
) -> Result<()> {
    let number: u32 = match what {
        Builtin::Ones => 0,
        Builtin::Zeros => 1,
        Builtin::Copy => 2,
        Builtin::Add => 3,
        Builtin::Multiply => 4,
    };
    let source = what.source(source)?;
    let kernel = Kernel::new(&SOURCE, "main").with("WHAT", number);
    let count = target.spec().bytes() / 4;
    let word = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    if let Some((aligned, first)) = exec::from_aligned(target)? {
        return exec.launch(&kernel, &[word(count), first, 0, 0], &[aligned, Arg::Nothing], count.div_ceil(64));
    }
    let source = Arg::or_nothing(source.map(|source| source.rows()))?;
    exec.launch_each(&kernel, count, &[target.rows()?, source], |part| [word(part.len()), 0, 0, 0])
}
