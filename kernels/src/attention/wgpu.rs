//! Launches on wgpu.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use engine::device::source::Source;
use engine::{Arg, Backward, Error, Forward, Kernel, Real, Result, Scratch, WgpuExec};

use super::{Attention, Dims, NAME};
use crate::common::gpu::{grad_rows, source, word};

static FORWARD: Source = source("kernels/src/attention/forward.wgsl", include_str!("forward.wgsl"));
static FORWARD4: Source = source("kernels/src/attention/forward4.wgsl", include_str!("forward4.wgsl"));
static BACKWARD: Source = source("kernels/src/attention/backward.wgsl", include_str!("backward.wgsl"));
static BACKWARD4: Source = source("kernels/src/attention/backward4.wgsl", include_str!("backward4.wgsl"));
static DELTAS: Source = source("kernels/src/attention/deltas.wgsl", include_str!("deltas.wgsl"));

/// Rows that a workgroup works on.
const SIDE: usize = 32;

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
}

impl Grid {
    fn new(dims: Dims) -> Self {
        Self { dims, blocks: dims.n.div_ceil(SIDE), parts: dims.d.div_ceil(64) }
    }

    /// Whether features can be read four at a time.
    fn fours(&self) -> bool {
        self.dims.d.is_multiple_of(4)
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
        let groups = |images: usize| images * self.dims.h * self.blocks * self.parts;
        exec.launch_rows(kernel, self.dims.b, args, groups, |part| self.params(&part))
    }
}

/// One number per row of scores for the backward pass.
pub(super) fn scratch(dims: Dims) -> Scratch {
    Scratch { forward: 0, backward: dims.b * dims.h * dims.n * size_of::<f32>() }
}

pub(super) fn forward(op: &Attention, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let grid = Grid::new(op.sizes(&[io.inputs[0].spec()]));
    let source = if grid.fours() { &FORWARD4 } else { &FORWARD };
    let kernel = Kernel::new(source, "main").when("KEEP", !io.extras.is_empty());
    let lse = Arg::or_nothing(io.extras.first().map(|lse| lse.rows()))?;
    grid.launch(exec, &kernel, &[io.inputs[0].rows()?, Arg::Nothing, io.output.rows()?, lse])
}

pub(super) fn backward(op: &Attention, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let dims = op.sizes(&[io.inputs[0].spec()]);
    let grid = Grid::new(dims);
    let Some((d_qkv, add)) = grad_rows(io.d_inputs.first().and_then(Option::as_ref))? else { return Ok(()) };
    let lse = io.extras.first().ok_or_else(|| Error::new(NAME, "the log-sum-exp is missing"))?.rows()?;
    let [qkv, out, d_out] = [io.inputs[0].rows()?, io.output.rows()?, io.d_output.rows()?];
    let delta = io.scratch.rows()?;
    let groups = |images: usize| (images * dims.h * dims.n).div_ceil(64);
    exec.launch_rows(&Kernel::new(&DELTAS, "main"), dims.b, &[d_out, out, delta], groups, |part| grid.params(&part))?;
    let source = if grid.fours() { &BACKWARD4 } else { &BACKWARD };
    for entry in ["queries", "keys"] {
        let kernel = Kernel::new(source, entry).when("ADD", add);
        grid.launch(exec, &kernel, &[qkv, d_out, d_qkv, lse, delta])?;
    }
    Ok(())
}
