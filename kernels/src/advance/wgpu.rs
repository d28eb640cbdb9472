//! Launches on wgpu.

use engine::device::source::Source;
use engine::{DType, Kernel, Result, UpdateIo, WgpuExec};

use crate::common::gpu::source;

static UPDATE: Source = source("kernels/src/advance/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    for counter in &*io.state {
        let spec = counter.spec();
        // The step of a random state is its third word.
        let at: u32 = if spec.elements() == 1 { 0 } else { 2 };
        let kernel = Kernel::new(&UPDATE, "main").when("FLOAT", spec.dtype == DType::F32);
        exec.launch(&kernel, &[at, 0, 0, 0], &[counter.whole()?], 1)?;
    }
    Ok(())
}
