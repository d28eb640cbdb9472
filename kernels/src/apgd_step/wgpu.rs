//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Result, UpdateIo, WgpuExec};

use super::NAME;
use crate::common::gpu::{source, word};
use crate::common::progress::Ball;
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/apgd_step/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(ball: Ball, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([delta, before, best, best_gradient, fooling], [g, x, progress]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs five states and three inputs"));
    };
    let spec = g.spec();
    let (b, width) = (samples(&spec), per_sample_elements(&spec));
    let args = [
        delta.rows()?,
        before.rows()?,
        best.rows()?,
        best_gradient.rows()?,
        fooling.rows()?,
        g.rows()?,
        x.rows()?,
        progress.whole()?,
    ];
    match ball {
        Ball::Linf => exec.launch_each(&Kernel::new(&UPDATE, "linf"), spec.elements(), &args, |part| {
            [part.len(), part.start, width, 0].map(word)
        }),
        Ball::L2 => exec.launch_rows(
            &Kernel::new(&UPDATE, "l2"),
            b,
            &args,
            |samples| samples,
            |part| [part.len(), part.start, width, 0].map(word),
        ),
    }
}
