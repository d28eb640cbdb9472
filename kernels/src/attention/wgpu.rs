//! Launches on wgpu.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use engine::device::source::Source;
use engine::device::webgpu::{AdapterKind, Caps};
use engine::{Arg, Backward, Error, Forward, Kernel, Real, Result, Scratch, WgpuExec};

use super::{Attention, Dims, NAME};
use crate::common::gpu::{grad_rows, source, word};

/// The variants of a kernel file.
struct Variants {
    /// Any head width.
    any: Source,
    /// Head widths that are multiples of 4.
    fours: Source,
    /// Such up to 64, on software with subgroups.
    shuffled: Source,
}

static FORWARD: Variants = Variants {
    any: source("kernels/src/attention/forward.wgsl", include_str!("forward.wgsl")),
    fours: source("kernels/src/attention/forward4.wgsl", include_str!("forward4.wgsl")),
    shuffled: source("kernels/src/attention/forward.subgroup.wgsl", include_str!("forward.subgroup.wgsl")),
};
static BACKWARD: Variants = Variants {
    any: source("kernels/src/attention/backward.wgsl", include_str!("backward.wgsl")),
    fours: source("kernels/src/attention/backward4.wgsl", include_str!("backward4.wgsl")),
    shuffled: source("kernels/src/attention/backward.subgroup.wgsl", include_str!("backward.subgroup.wgsl")),
};
static DELTAS: Source = source("kernels/src/attention/deltas.wgsl", include_str!("deltas.wgsl"));

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    images: u32,
    tokens: u32,
    heads: u32,
    width: u32,
    blocks: u32,
    parts: u32,
    scale: f32,
}

/// How a launch is cut up.
struct Grid {
    dims: Dims,
    /// Blocks of rows of a head.
    blocks: usize,
    /// Parts of the features of a head.
    parts: usize,
    /// Invocations of a subgroup, where rows are spread by shuffles.
    subgroup: Option<usize>,
}

impl Grid {
    /// | adapter | head width | rows of a block |
    /// |---|---|---|
    /// | software, subgroups of a fixed power of two from 8 to 64 | 4, 8, .. 64 | 8, in registers |
    /// | else | any | 32, in workgroup memory |
    fn new(caps: Caps, dims: Dims) -> Self {
        let fits = |width: &u32| width.is_power_of_two() && (8..=64).contains(width);
        let software = caps.kind == AdapterKind::Software && dims.d.is_multiple_of(4) && dims.d <= 64;
        let subgroup = caps.subgroup.filter(fits).and_then(|width| usize::try_from(width).ok()).filter(|_| software);
        let side = if subgroup.is_some() { 8 } else { 32 };
        Self { dims, blocks: dims.n.div_ceil(side), parts: dims.d.div_ceil(64), subgroup }
    }

    fn kernel(&self, variants: &'static Variants, entry: &'static str) -> Kernel {
        match self.subgroup {
            Some(width) => {
                Kernel::new(&variants.shuffled, entry).with("WIDTH", word(width)).with("QUADS", word(self.dims.d / 4))
            }
            None if self.dims.d.is_multiple_of(4) => Kernel::new(&variants.fours, entry),
            None => Kernel::new(&variants.any, entry),
        }
    }

    fn params(&self, images: &Range<usize>) -> Params {
        let Dims { n, h, d, .. } = self.dims;
        Params {
            images: word(images.len()),
            tokens: word(n),
            heads: word(h),
            width: word(d),
            blocks: word(self.blocks),
            parts: word(self.parts),
            scale: 1.0 / f32::from_usize(d).sqrt(),
        }
    }

    /// Launches a kernel over all rows of all images.
    fn launch(&self, exec: &mut WgpuExec, kernel: &Kernel, args: &[Arg]) -> Result<()> {
        let blocks_at_once = self.subgroup.map_or(1, |width| width / 8);
        let groups = |images: usize| (images * self.dims.h * self.blocks * self.parts).div_ceil(blocks_at_once);
        exec.launch_rows(kernel, self.dims.b, args, groups, |part| self.params(&part))
    }

    /// Launches what writes the row sums of `d_out * out`.
    fn deltas(&self, exec: &mut WgpuExec, args: &[Arg]) -> Result<()> {
        let groups = |images: usize| (images * self.dims.h * self.dims.n).div_ceil(64);
        exec.launch_rows(&Kernel::new(&DELTAS, "main"), self.dims.b, args, groups, |part| self.params(&part))
    }
}

/// One number per row of scores for the backward pass.
pub(super) fn scratch(dims: Dims) -> Scratch {
    Scratch { forward: 0, backward: dims.b * dims.h * dims.n * size_of::<f32>() }
}

pub(super) fn forward(op: &Attention, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let grid = Grid::new(exec.caps(), op.sizes(&[io.inputs[0].spec()]));
    let kernel = grid.kernel(&FORWARD, "main").when("KEEP", !io.extras.is_empty());
    let lse = Arg::or_nothing(io.extras.first().map(|lse| lse.rows()))?;
    grid.launch(exec, &kernel, &[io.inputs[0].rows()?, Arg::Nothing, io.output.rows()?, lse])
}

pub(super) fn backward(op: &Attention, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let grid = Grid::new(exec.caps(), op.sizes(&[io.inputs[0].spec()]));
    let Some((d_qkv, add)) = grad_rows(io.d_inputs.first().and_then(Option::as_ref))? else { return Ok(()) };
    let lse = io.extras.first().ok_or_else(|| Error::new(NAME, "the log-sum-exp is missing"))?.rows()?;
    let [qkv, out, d_out] = [io.inputs[0].rows()?, io.output.rows()?, io.d_output.rows()?];
    let delta = io.scratch.rows()?;
    let args = [qkv, d_out, d_qkv, lse, delta, out];
    if grid.subgroup.is_none() {
        grid.deltas(exec, &[d_out, out, delta])?;
    }
    for entry in ["queries", "keys"] {
        grid.launch(exec, &grid.kernel(&BACKWARD, entry).when("ADD", add), &args)?;
    }
    Ok(())
}
