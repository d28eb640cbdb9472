//! Launches on wgpu: the gradient's norm, the step with the norm of where it leads, the projection.

use engine::device::source::Source;
use engine::{Arg, Error, Kernel, Result, Spec, UpdateIo, WgpuExec};

use super::NAME;
use crate::common::gpu::{chunks, partials, source, word};
use crate::common::specs::{per_sample_elements, samples};

static UPDATE: Source = source("kernels/src/l2_step/update.wgsl", include_str!("update.wgsl"));

/// Bytes of the partial sums of two norms per sample.
pub(super) fn scratch(delta: &Spec) -> usize {
    2 * partials(delta)
}

pub(super) fn run(exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [g, x, eps, alpha, active @ ..]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and at least four inputs"));
    };
    let spec = g.spec();
    let (b, width) = (samples(&spec), per_sample_elements(&spec));
    let chunks = chunks(width);
    let given = active.first();
    let active = Arg::or_nothing(given.map(|active| active.whole()))?;
    let partials = io.scratch.whole()?;
    let args = [delta.rows()?, g.rows()?, x.rows()?, eps.whole()?, alpha.whole()?, active, partials];
    for entry in ["measure", "advance", "project"] {
        let kernel = Kernel::new(&UPDATE, entry).when("SOME", given.is_some());
        exec.launch_rows(
            &kernel,
            b,
            &args,
            |samples| samples * chunks,
            |part| [part.len(), part.start, width, chunks, b * chunks, 0, 0, 0].map(word),
        )?;
    }
    Ok(())
}
