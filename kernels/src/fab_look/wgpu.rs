//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Result, UpdateIo, WgpuExec};

use super::{Limit, NAME};
use crate::common::gpu::{source, word};
use crate::common::progress::Ball;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/fab_look/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(ball: Ball, limit: Limit, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([delta, nearest, progress], [margins]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs three states and an input"));
    };
    let spec = delta.spec();
    let (b, width) = (samples(&spec), per_sample_elements(&spec));
    let kernel = Kernel::new(&UPDATE, "main").when("STOP", limit.stop).when("SQUARE", ball == Ball::L2);
    let args = [delta.rows()?, nearest.rows()?, progress.whole()?, margins.whole()?];
    exec.launch_rows(
        &kernel,
        b,
        &args,
        |samples| samples,
        |part| [word(part.len()), word(part.start), word(width), limit.steps],
    )
}
