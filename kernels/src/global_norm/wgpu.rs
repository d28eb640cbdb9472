//! Launches on wgpu: partial sums of each gradient, then one launch over them all.

use std::cell::Cell;

use engine::device::source::Source;
use engine::device::webgpu::Caps;
use engine::{Forward, Kernel, Real, Result, Spec, WgpuExec};

use super::TINY;
use crate::common::flat::BLOCK;
use crate::common::gpu::{source, word};

static FORWARD: Source = source("kernels/src/global_norm/forward.wgsl", include_str!("forward.wgsl"));

/// Bytes of one block's partial sums.
const PARTIAL: usize = 16;

/// Bytes for the partial sums of all blocks: a gradient beyond the binding limit is cut into parts, and each of them into
/// blocks.
pub(super) fn scratch(inputs: &[Spec], caps: Caps) -> usize {
    let limit = usize::try_from(caps.max_binding).unwrap_or(usize::MAX);
    // At least half of what the limit allows: parts begin at aligned places.
    let part = (limit / size_of::<f32>() / 2).max(1);
    let blocks = |spec: &Spec| spec.elements().div_ceil(BLOCK) + spec.elements().div_ceil(part);
    inputs.iter().map(blocks).sum::<usize>().max(1) * PARTIAL
}

pub(super) fn forward(max_norm: f64, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let scratch = io.scratch.whole()?;
    let bits = |x: f64| f32::from_f64(x).to_bits();
    let blocks = Cell::new(0);
    for gradient in io.inputs {
        let kernel = Kernel::new(&FORWARD, "partial").with("BLOCK", word(BLOCK));
        let groups = |elements: usize| elements.div_ceil(BLOCK);
        let args = [scratch, gradient.rows()?];
        exec.launch_rows(&kernel, gradient.spec().elements(), &args, groups, |part| {
            let first = blocks.replace(blocks.get() + groups(part.len()));
            [word(part.len()), word(first), 0, 0]
        })?;
    }
    let params = [word(blocks.get()), 0, bits(max_norm), bits(TINY)];
    exec.launch(&Kernel::new(&FORWARD, "finish"), &params, &[scratch, io.output.whole()?], 1)
}
