//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Arg, Error, Kernel, Result, UpdateIo, WgpuExec};

use super::NAME;
use crate::common::gpu::{source, word};
use crate::common::specs::per_sample_elements;

static UPDATE: Source = source("kernels/src/linf_step/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [g, x, eps, alpha, active @ ..]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and at least four inputs"));
    };
    let active = active.first();
    let kernel = Kernel::new(&UPDATE, "main").when("SOME", active.is_some());
    let active = Arg::or_nothing(active.map(|active| active.whole()))?;
    let width = word(per_sample_elements(&g.spec()));
    let args = [delta.rows()?, g.rows()?, x.rows()?, eps.whole()?, alpha.whole()?, active];
    exec.launch_each(&kernel, g.spec().elements(), &args, |part| [word(part.len()), word(part.start), width, 0])
}
