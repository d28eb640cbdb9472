//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Result, UpdateIo, WgpuExec};

use super::NAME;
use crate::common::gpu::{source, word};
use crate::common::progress::Ball;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/fab_step/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(ball: Ball, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [w, difference, x, progress]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and four inputs"));
    };
    let spec = w.spec();
    let (b, width) = (samples(&spec), per_sample_elements(&spec));
    let kernel = Kernel::new(&UPDATE, "main").when("SQUARE", ball == Ball::L2);
    let args = [delta.rows()?, w.rows()?, difference.whole()?, x.rows()?, progress.whole()?];
    exec.launch_rows(&kernel, b, &args, |samples| samples, |part| [part.len(), part.start, width, 0].map(word))
}
