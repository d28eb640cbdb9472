//! Launches on wgpu: the samples, then their rows.

use engine::device::source::Source;
use engine::{Arg, Error, Kernel, Result, UpdateIo, WgpuExec};

use super::NAME;
use crate::common::gpu::{source, word};
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/square_keep/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(queries: u32, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([best, progress], [trial, margins]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs two states and two inputs"));
    };
    let spec = trial.spec();
    let width = word(per_sample_elements(&spec));
    let args = [best.rows()?, progress.whole()?, trial.rows()?, margins.whole()?];
    exec.launch_each(&Kernel::new(&UPDATE, "samples"), spec.elements(), &args, |part| {
        [word(part.len()), word(part.start), width, queries]
    })?;
    let args = [Arg::Nothing, progress.whole()?, Arg::Nothing, margins.whole()?];
    let params = [word(samples(&spec)), 0, width, queries];
    exec.launch(&Kernel::new(&UPDATE, "rows"), &params, &args, samples(&spec).div_ceil(64))
}
