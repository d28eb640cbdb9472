//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Result, UpdateIo, WgpuExec};

use super::NAME;
use crate::common::gpu::{source, word};
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/momentum/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([velocity], [g, decay]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and two inputs"));
    };
    let width = word(per_sample_elements(&g.spec()));
    let args = [velocity.rows()?, g.rows()?, decay.whole()?];
    let kernel = Kernel::new(&UPDATE, "main");
    exec.launch_rows(&kernel, samples(&g.spec()), &args, |samples| samples, |part| [word(part.len()), width, 0, 0])
}
