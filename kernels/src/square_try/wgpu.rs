//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Result, UpdateIo, WgpuExec};

use super::{NAME, Schedule, SquareTry};
use crate::common::gpu::{source, word};
use crate::common::progress::Ball;

static UPDATE: Source = source("kernels/src/square_try/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(update: &SquareTry, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([trial], [best, x, ids, progress, state, pyramids]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and six inputs"));
    };
    let spec = best.spec();
    let [b, c, h, w] = spec.array(NAME, "best")?;
    let schedule = Schedule::of(update, [b, c, h, w]);
    let args =
        [trial.rows()?, best.rows()?, x.rows()?, ids.whole()?, progress.whole()?, state.whole()?, pyramids.whole()?];
    let params = |part: std::ops::Range<usize>| Schedule { part: [word(part.len()), word(part.start)], ..schedule };
    match update.search.ball {
        Ball::Linf => exec.launch_each(&Kernel::new(&UPDATE, "linf"), spec.elements(), &args, params),
        Ball::L2 => exec.launch_rows(&Kernel::new(&UPDATE, "l2"), b, &args, |samples| samples, params),
    }
}
