//! Launches on CUDA: matrices into scratch, as many at a time as fit, then their products.

use engine::device::cuda::{CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Buf, Forward, Inputs, Result, Scratch, Spec};

use super::{Mean, NAME, Sharing, StochasticLinear};
use crate::common::cuda::{grad_at, law_params, source};
use crate::common::gemm_cuda::{Layout, Product};

static DRAW: Source = source("kernels/src/stochastic_linear/draw.cu", include_str!("draw.cu"));

/// Bytes of the matrices that are drawn at a time, where more than one are: enough products to keep a card busy.
const AT_ONCE: usize = 64 << 20;

/// Most products of one launch: blocks along y.
const BATCHES: usize = 65_535;

/// Matrices in all, at a time, rows that each multiplies, and its own extents.
struct Sizes {
    draws: usize,
    at_once: usize,
    rows: usize,
    k: usize,
    m: usize,
    /// Bytes of a matrix.
    bytes: usize,
}

impl Sizes {
    fn of(op: &StochasticLinear, x: Spec) -> Result<Self> {
        let [b, n, k] = x.array(NAME, "x")?;
        let m = op.matrix.width;
        let (draws, rows) = if op.matrix.sharing == Sharing::PerImage { (b, n) } else { (1, b * n) };
        let bytes = k * m * x.dtype.size();
        let at_once = (AT_ONCE / bytes.max(1)).clamp(1, BATCHES).min(draws);
        Ok(Self { draws, at_once, rows, k, m, bytes })
    }
}

/// Room for the matrices that are drawn at a time.
pub(super) fn scratch(op: &StochasticLinear, inputs: &[Spec], wanted: Inputs) -> Scratch {
    let sizes = inputs.first().and_then(|x| Sizes::of(op, *x).ok());
    let bytes = sizes.map_or(0, |Sizes { at_once, bytes, .. }| at_once * bytes);
    Scratch { forward: bytes, backward: if wanted.has(0) { bytes } else { 0 } }
}

pub(super) fn forward(op: &StochasticLinear, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let x = io.inputs[0].spec();
    let sizes = Sizes::of(op, x)?;
    let args = [io.inputs[0].address()?, io.scratch.address()?, io.output.address()?];
    let product = Product::new(x.dtype, Layout::Nn, [sizes.rows, sizes.m, sizes.k], args);
    each_draw(op, exec, &sizes, io.inputs, product)
}

pub(super) fn backward(op: &StochasticLinear, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let x = io.inputs[0].spec();
    let sizes = Sizes::of(op, x)?;
    let args = [io.d_output.address()?, io.scratch.address()?, dx];
    let product = Product { add, ..Product::new(x.dtype, Layout::Nt, [sizes.rows, sizes.k, sizes.m], args) };
    each_draw(op, exec, &sizes, io.inputs, product)
}

/// Draws matrices into B of `product`, and launches it for each.
fn each_draw(
    op: &StochasticLinear,
    exec: &mut CudaExec,
    sizes: &Sizes,
    inputs: &[Buf],
    product: Product,
) -> Result<()> {
    let &Sizes { draws, at_once, k, m, .. } = sizes;
    let kernel = Kernel::new(&DRAW, "draw", product.storage);
    let law = law_params(exec, op.matrix.law(k))?;
    let [state, stream] = [inputs[1].address()?, op.stream.0.into()];
    let identity = (op.matrix.mean == Mean::Identity).into();
    // Elements of A and of C that one matrix takes and gives.
    let (taken, given) = (product.m * product.k, product.m * product.n);
    let size = product.storage.size();
    for first in (0..draws).step_by(at_once) {
        let batches = at_once.min(draws - first);
        let ids = match op.matrix.sharing {
            Sharing::PerImage => inputs[2].address()?.after(first * size_of::<u32>()),
            Sharing::Batch | Sharing::PerToken => Param::NULL,
        };
        let extents = [batches.into(), (k * m).into(), m.into(), identity];
        let params = [&[state, ids, stream][..], &law, &[product.b], &extents].concat();
        exec.launch(kernel, Grid::each(batches * (k * m).div_ceil(4)), &params)?;
        let (from, to) = (product.a.after(first * taken * size), product.c.after(first * given * size));
        Product { batches, a: from, c: to, ..product }.launch(exec)?;
    }
    Ok(())
}
