//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Result, UpdateIo, WgpuExec};

use super::{Limit, NAME};
use crate::common::gpu::{source, word};

static UPDATE: Source = source("kernels/src/attack_watch/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(limit: Limit, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([progress, active], [margins]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs two states and an input"));
    };
    let rows = margins.spec().elements();
    let kernel = Kernel::new(&UPDATE, "main").when("STOP", limit.stop);
    let args = [progress.whole()?, active.whole()?, margins.whole()?];
    exec.launch(&kernel, &[word(rows), limit.steps, 0, 0], &args, rows.div_ceil(64))
}
