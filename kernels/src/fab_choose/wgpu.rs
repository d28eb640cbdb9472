//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Result, UpdateIo, WgpuExec};

use super::{FabChoose, NAME};
use crate::common::gpu::{source, word};
use crate::common::progress::Ball;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/fab_choose/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(update: &FabChoose, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([kept, kept_difference, distance], [gradient, difference, labels]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs three states and three inputs"));
    };
    let spec = gradient.spec();
    let width = word(per_sample_elements(&spec));
    let kernel = Kernel::new(&UPDATE, "main").when("SQUARE", update.ball == Ball::L2);
    let args = [
        kept.rows()?,
        kept_difference.whole()?,
        distance.whole()?,
        gradient.rows()?,
        difference.whole()?,
        labels.whole()?,
    ];
    exec.launch_rows(
        &kernel,
        samples(&spec),
        &args,
        |samples| samples,
        |part| [word(part.len()), word(part.start), width, update.class],
    )
}
