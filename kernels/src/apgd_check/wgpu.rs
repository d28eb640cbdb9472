//! Launches on wgpu.

use engine::device::source::Source;
use engine::{Error, Kernel, Real, Result, UpdateIo, WgpuExec};

use super::{NAME, Schedule};
use crate::common::gpu::{source, word};

static UPDATE: Source = source("kernels/src/apgd_check/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(schedule: Schedule, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([progress], [losses, margins]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and two inputs"));
    };
    let rows = losses.spec().elements();
    let [_, shorter, shortest] = schedule.periods();
    let kernel = Kernel::new(&UPDATE, "main").when("STOP", schedule.stop);
    let args = [progress.whole()?, losses.whole()?, margins.whole()?];
    let params = [word(rows), schedule.steps, f32::from_f64(schedule.rho).to_bits(), shorter, shortest, 0, 0, 0];
    exec.launch(&kernel, &params, &args, rows.div_ceil(64))
}
