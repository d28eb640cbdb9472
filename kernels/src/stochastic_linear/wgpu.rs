//! Launches on wgpu: matrices into scratch, as many at a time as fit, then their products.

use bytemuck::{Pod, Zeroable};
use engine::device::source::Source;
use engine::device::webgpu::Caps;
use engine::{Arg, Backward, Buf, Forward, Kernel, Mode, Result, Spec, WgpuExec};

use super::{Mean, NAME, Sharing, StochasticLinear};
use crate::common::gemm_wgpu::{Layout, Product};
use crate::common::gpu::{law_table, law_words, quads, source, word};

static DRAW: Source = source("kernels/src/stochastic_linear/draw.wgsl", include_str!("draw.wgsl"));

/// Bytes of the matrices that are drawn at a time, where more than one are: enough products to keep a card busy.
const AT_ONCE: usize = 64 << 20;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    count: u32,
    first: u32,
    width: u32,
    columns: u32,
    stream: u32,
    padding: [u32; 3],
    law: [f32; 4],
}

/// Matrices in all, at a time, rows that each multiplies, and its own extents.
struct Sizes {
    draws: usize,
    at_once: usize,
    rows: usize,
    k: usize,
    m: usize,
}

impl Sizes {
    fn of(op: &StochasticLinear, x: Spec, caps: Caps) -> Result<Self> {
        let [b, n, k] = x.array(NAME, "x")?;
        let m = op.matrix.width;
        let (draws, rows) = if op.matrix.sharing == Sharing::PerImage { (b, n) } else { (1, b * n) };
        let bytes = usize::try_from(caps.max_binding).map_or(AT_ONCE, |limit| limit.min(AT_ONCE));
        Ok(Self { draws, at_once: (bytes / (k * m * size_of::<f32>())).clamp(1, draws), rows, k, m })
    }
}

/// Bytes of the matrices that are drawn at a time.
pub(super) fn scratch(op: &StochasticLinear, inputs: &[Spec], caps: Caps) -> usize {
    let sizes = inputs.first().and_then(|x| Sizes::of(op, *x, caps).ok());
    sizes.map_or(0, |Sizes { at_once, k, m, .. }| at_once * k * m * size_of::<f32>())
}

pub(super) fn forward(op: &StochasticLinear, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let sizes = Sizes::of(op, io.inputs[0].spec(), exec.caps())?;
    let extents = [sizes.rows, sizes.m, sizes.k];
    let (x, y) = match op.matrix.sharing {
        Sharing::PerImage => (io.inputs[0].whole()?, io.output.whole()?),
        Sharing::Batch | Sharing::PerToken => (io.inputs[0].rows()?, io.output.rows()?),
    };
    let product = Product::new(Layout::Nn, extents, [x, io.scratch.whole()?, y]);
    each_draw(op, exec, &sizes, io.inputs, product)
}

pub(super) fn backward(op: &StochasticLinear, exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Some(grad) = io.d_inputs[0].as_ref() else { return Ok(()) };
    let (dx, dy) = match op.matrix.sharing {
        Sharing::PerImage => (grad.buf.whole()?, io.d_output.whole()?),
        Sharing::Batch | Sharing::PerToken => (grad.buf.rows()?, io.d_output.rows()?),
    };
    let sizes = Sizes::of(op, io.inputs[0].spec(), exec.caps())?;
    let args = [dy, io.scratch.whole()?, dx];
    let product =
        Product { add: grad.mode == Mode::Add, ..Product::new(Layout::Nt, [sizes.rows, sizes.k, sizes.m], args) };
    each_draw(op, exec, &sizes, io.inputs, product)
}

/// Draws matrices into B of `product`, and launches it for each.
fn each_draw(
    op: &StochasticLinear,
    exec: &mut WgpuExec,
    sizes: &Sizes,
    inputs: &[Buf],
    product: Product,
) -> Result<()> {
    let &Sizes { draws, at_once, k, m, .. } = sizes;
    let law = op.matrix.law(k);
    let (number, law_at) = law_words(law);
    let batch = op.matrix.sharing == Sharing::Batch;
    let kernel = Kernel::new(&DRAW, "main").with("LAW", number).when("BATCH", batch);
    let kernel = kernel.when("IDENTITY", op.matrix.mean == Mean::Identity);
    let ids = if batch { Arg::Nothing } else { inputs[2].whole()? };
    let args = [inputs[1].whole()?, ids, law_table(exec, law)?, product.b];
    for first in (0..draws).step_by(at_once) {
        let batches = at_once.min(draws - first);
        let count = batches * k * m;
        let params = Params {
            count: word(count),
            first: word(first * k * m),
            width: word(k * m),
            columns: word(m),
            stream: op.stream.0,
            padding: [0; 3],
            law: law_at,
        };
        exec.launch(&kernel, &params, &args, quads(count))?;
        Product { batches, first, ..product }.launch(exec)?;
    }
    Ok(())
}
