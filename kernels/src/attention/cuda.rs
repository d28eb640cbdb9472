//! Launches on CUDA.

use bytemuck::{Pod, Zeroable};
use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Error, Forward, Real, Result, Scratch};

use super::{Attention, Dims, NAME, hopper, tensor};
use crate::common::cuda::{grad_at, source};

static FORWARD: Source = source("kernels/src/attention/forward.cu", include_str!("forward.cu"));
static BACKWARD: Source = source("kernels/src/attention/backward.cu", include_str!("backward.cu"));

/// Rows that a block owns, rows that it walks over at a time, and features at a time: those of attention.cuh.
const OWN: usize = 64;
const WALKED: usize = 32;
const DEPTH: usize = 64;
const THREADS: u32 = 128;

/// Bytes of shared memory of a block in backward: two tiles of each kind, and weights; rows are padded.
const TILES: usize = (2 * (OWN + WALKED) * (DEPTH + 4) + OWN * (WALKED + 8)) * size_of::<f32>();

/// As `Attention` in attention.cuh.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct Params {
    pub(super) qkv: Param,
    out: Param,
    pub(super) d_out: Param,
    result: Param,
    lse: Param,
    delta: Param,
    rows: Param,
    tokens: u32,
    heads: u32,
    width: u32,
    blocks: u32,
    parts: u32,
    quads: u32,
    add: u32,
    scale: f32,
}

impl Params {
    fn new(dims: Dims) -> Result<Self> {
        let Dims { b, n, h, d } = dims;
        let word = |number: usize| {
            u32::try_from(number).map_err(|_| Error::new(NAME, "an extent exceeds 32 bits").with("extent", number))
        };
        let none = Param::NULL;
        Ok(Self {
            qkv: none,
            out: none,
            d_out: none,
            result: none,
            lse: none,
            delta: none,
            rows: (b * n * h).into(),
            tokens: word(n)?,
            heads: word(h)?,
            width: word(d)?,
            blocks: word(n.div_ceil(OWN))?,
            parts: word(d.div_ceil(DEPTH))?,
            quads: u32::from(d.is_multiple_of(4)),
            add: 0,
            scale: 1.0 / f32::from_usize(d).sqrt(),
        })
    }

    /// The same for kernels whose blocks have all features of a head's rows.
    pub(super) fn of_all_features(self) -> Self {
        Self { parts: 1, ..self }
    }

    /// The same where `blocks` blocks share a head.
    pub(super) fn of_heads(self, blocks: u32) -> Self {
        Self { blocks, ..self.of_all_features() }
    }
}

/// A block for each 64 rows and 64 features of each head.
fn grid(dims: Dims) -> Grid {
    Grid::new(dims.b * dims.h * dims.n.div_ceil(OWN) * dims.d.div_ceil(DEPTH), THREADS)
}

/// One number per row of scores for the backward pass.
pub(super) fn scratch(dims: Dims) -> Scratch {
    Scratch { forward: 0, backward: dims.b * dims.h * dims.n * size_of::<f32>() }
}

pub(super) fn forward(op: &Attention, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let dims = op.sizes(&[io.inputs[0].spec()]);
    let params = Params {
        qkv: io.inputs[0].address()?,
        result: io.output.address()?,
        lse: Param::or_null(io.extras.first().map(|lse| lse.address()))?,
        ..Params::new(dims)?
    };
    if let Some(kernels) = hopper::Kernels::of(exec, dims, io.output.spec().dtype)
        && kernels.forward(exec, dims, params)?
    {
        return Ok(());
    }
    match tensor::kernels(exec, dims, io.output.spec().dtype) {
        Some(kernels) => kernels.forward(exec, dims, params),
        None => exec.launch_with(Kernel::new(&FORWARD, "forward", io.output.spec().dtype), grid(dims), &params),
    }
}

pub(super) fn backward(op: &Attention, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((result, add)) = grad_at(io.d_inputs.first().and_then(Option::as_ref))? else { return Ok(()) };
    let dims = op.sizes(&[io.inputs[0].spec()]);
    let lse = io.extras.first().ok_or_else(|| Error::new(NAME, "the log-sum-exp is missing"))?;
    let params = Params {
        qkv: io.inputs[0].address()?,
        out: io.output.address()?,
        d_out: io.d_output.address()?,
        result,
        lse: lse.address()?,
        delta: io.scratch.address()?,
        add: u32::from(add),
        ..Params::new(dims)?
    };
    if let Some(kernels) = hopper::Kernels::of(exec, dims, io.d_output.spec().dtype)
        && kernels.backward(exec, dims, params)?
    {
        return Ok(());
    }
    if let Some(kernels) = tensor::kernels(exec, dims, io.d_output.spec().dtype) {
        return kernels.backward(exec, dims, params);
    }
    let kernel = |entry| Kernel::new(&BACKWARD, entry, io.d_output.spec().dtype);
    exec.launch_with(kernel("deltas"), Grid::each(32 * dims.b * dims.n * dims.h), &params)?;
    exec.launch_with(kernel("queries"), grid(dims).shared(TILES), &params)?;
    exec.launch_with(kernel("keys"), grid(dims).shared(TILES), &params)
}
