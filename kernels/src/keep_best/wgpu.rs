//! Launches on wgpu: the samples, then the scores.

use engine::device::source::Source;
use engine::{Arg, Error, Kernel, Result, UpdateIo, WgpuExec};

use super::NAME;
use crate::common::gpu::{source, word};
use crate::common::specs::per_sample_elements;

static UPDATE: Source = source("kernels/src/keep_best/update.wgsl", include_str!("update.wgsl"));

pub(super) fn run(exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([best, best_score], [candidate, score]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs two states and two inputs"));
    };
    let width = per_sample_elements(&candidate.spec());
    if width == 0 {
        return Ok(());
    }
    let args = [best.rows()?, best_score.whole()?, candidate.rows()?, score.whole()?];
    exec.launch_each(&Kernel::new(&UPDATE, "samples"), candidate.spec().elements(), &args, |part| {
        [word(part.len()), word(part.start), word(width), 0]
    })?;
    let samples = score.spec().elements();
    let args = [Arg::Nothing, best_score.whole()?, Arg::Nothing, score.whole()?];
    exec.launch(&Kernel::new(&UPDATE, "scores"), &[word(samples), 0, 0, 0], &args, samples.div_ceil(64))
}
