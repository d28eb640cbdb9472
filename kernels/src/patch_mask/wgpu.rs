//! Launches on wgpu: the patches' words, the choice among them, the mask.

use engine::device::source::Source;
use engine::{Arg, Error, Kernel, Result, UpdateIo, WgpuExec};

use super::{NAME, PatchMask};
use crate::common::gpu::{quads, source, word};

static UPDATE: Source = source("kernels/src/patch_mask/update.wgsl", include_str!("update.wgsl"));

/// Bytes of a word and a flag for each patch, both in whole fours.
pub(super) fn scratch(patches: usize) -> usize {
    2 * patches.next_multiple_of(4) * size_of::<u32>()
}

pub(super) fn run(update: &PatchMask, exec: &mut WgpuExec, io: &UpdateIo) -> Result<()> {
    let ([delta], [keep, state]) = (&*io.state, io.inputs) else {
        return Err(Error::new(NAME, "needs one state and two inputs"));
    };
    let spec = delta.spec();
    let ([_, h, w], patches) = update.sizes(&spec)?;
    let params = |part: std::ops::Range<usize>| {
        let sizes = [part.len(), part.start, patches, 0, h, w, update.patch, 0];
        let mut words = sizes.map(word);
        words[3] = update.stream.0;
        words
    };
    let args = [delta.rows()?, keep.whole()?, state.whole()?, io.scratch.whole()?];
    for entry in ["words", "choose"] {
        let args = [Arg::Nothing, args[1], args[2], args[3]];
        exec.launch(&Kernel::new(&UPDATE, entry), &params(0..0), &args, quads(patches))?;
    }
    exec.launch_each(&Kernel::new(&UPDATE, "apply"), spec.elements(), &args, params)
}
