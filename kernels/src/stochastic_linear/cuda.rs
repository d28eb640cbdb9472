//! Launches on CUDA: matrices that are drawn inside their product, or into scratch before it.

use bytemuck::{Pod, Zeroable};
use engine::device::cuda::{Caps, CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, Buf, Forward, Inputs, Result, Scratch, Spec};

use super::{Mean, NAME, Sharing, StochasticLinear};
use crate::common::cuda::{grad_at, law_table, source};
use crate::common::gemm_cuda::{Layout, Params, Product};
use crate::common::gpu::law_words;

static DRAW: Source = source("kernels/src/stochastic_linear/draw.cu", include_str!("draw.cu"));
static PRODUCT: Source = source("kernels/src/stochastic_linear/product.bf16.cu", include_str!("product.bf16.cu"));

/// Bytes of the matrices that are drawn at a time, where more than one are: enough products to keep a card busy.
const AT_ONCE: usize = 64 << 20;

/// Most products of one launch: blocks along y.
const BATCHES: usize = 65_535;

/// Rows of a tile of the product: a matrix that meets no more is drawn once by each of the product's columns of tiles.
const TILE_ROWS: usize = 128;

/// As in drawn.cuh.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Drawing {
    state: Param,
    ids: Param,
    table: Param,
    stream: u32,
    kind: u32,
    identity: u32,
    unused: u32,
    law: [f32; 4],
}

/// As in draw.cu.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Draw {
    drawing: Drawing,
    w: Param,
    extents: [Param; 3],
}

/// As in product.bf16.cu.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DrawnProduct {
    product: Params,
    drawing: Drawing,
}

/// Where a matrix is drawn. Which is chosen rests on estimates, not on measurements, for no GPU was at hand: a Philox call and
/// a law cost about 10 instructions per element, so that drawing hides under a product of 165 to 190 rows and more, and a
/// product of all rows of a batch with one matrix reads it from the cache faster than every row of tiles draws it.
///
/// | matrices | rows that meet each | where | why |
/// |---|---|---|---|
/// | one per image | tokens | in the product | writing and reading them all would move more bytes than the product |
/// | one | at most 128 | in the product | no row of tiles draws it twice, and a launch is saved |
/// | one | more | scratch | drawn once; it stays in the cache |
/// | any that tensor cores refuse | any | scratch | the general kernels read their operands |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Product,
    Scratch,
}

/// Matrices in all, rows that each multiplies, and its own extents.
struct Sizes {
    draws: usize,
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
        Ok(Self { draws, rows, k, m, bytes: k * m * x.dtype.size() })
    }

    fn place(&self, op: &StochasticLinear, product: &Product, caps: Caps) -> Place {
        let few = op.matrix.sharing == Sharing::PerImage || self.rows <= TILE_ROWS;
        if few && product.refused(caps).is_none() { Place::Product } else { Place::Scratch }
    }

    /// Matrices that are drawn at a time.
    fn at_once(&self, place: Place) -> usize {
        let most = match place {
            Place::Product => BATCHES,
            Place::Scratch => (AT_ONCE / self.bytes.max(1)).clamp(1, BATCHES),
        };
        most.min(self.draws)
    }

    /// `y = x W`.
    fn forward(&self, x: Spec) -> Product {
        Product::of(x.dtype, Layout::Nn, [self.rows, self.m, self.k])
    }

    /// `dx = dy W'`.
    fn backward(&self, x: Spec) -> Product {
        Product::of(x.dtype, Layout::Nt, [self.rows, self.k, self.m])
    }
}

/// Room for the matrices that are drawn at a time.
pub(super) fn scratch(op: &StochasticLinear, inputs: &[Spec], wanted: Inputs, caps: Caps) -> Scratch {
    let Some((x, sizes)) = inputs.first().and_then(|&x| Some((x, Sizes::of(op, x).ok()?))) else {
        return Scratch::default();
    };
    let bytes = |product: Product| match sizes.place(op, &product, caps) {
        Place::Product => 0,
        Place::Scratch => sizes.at_once(Place::Scratch) * sizes.bytes,
    };
    Scratch { forward: bytes(sizes.forward(x)), backward: if wanted.has(0) { bytes(sizes.backward(x)) } else { 0 } }
}

pub(super) fn forward(op: &StochasticLinear, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let x = io.inputs[0].spec();
    let sizes = Sizes::of(op, x)?;
    let (a, c) = (io.inputs[0].address()?, io.output.address()?);
    each_draw(op, exec, &sizes, io.inputs, Product { a, b: io.scratch.address()?, c, ..sizes.forward(x) })
}

pub(super) fn backward(op: &StochasticLinear, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Some((c, add)) = grad_at(io.d_inputs[0].as_ref())? else { return Ok(()) };
    let x = io.inputs[0].spec();
    let sizes = Sizes::of(op, x)?;
    let (a, b) = (io.d_output.address()?, io.scratch.address()?);
    each_draw(op, exec, &sizes, io.inputs, Product { a, b, c, add, ..sizes.backward(x) })
}

/// Draws the matrices, as B of `product`, and launches it for each.
fn each_draw(
    op: &StochasticLinear,
    exec: &mut CudaExec,
    sizes: &Sizes,
    inputs: &[Buf],
    product: Product,
) -> Result<()> {
    let place = sizes.place(op, &product, exec.caps());
    let at_once = sizes.at_once(place);
    let size = product.storage.size();
    for first in (0..sizes.draws).step_by(at_once) {
        let batches = at_once.min(sizes.draws - first);
        let drawing = drawing(op, exec, sizes, inputs, first)?;
        let a = product.a.after(first * product.m * product.k * size);
        let c = product.c.after(first * product.m * product.n * size);
        let product = Product { batches, a, c, ..product };
        match place {
            Place::Product => product.launch_as(exec, &PRODUCT, |product| DrawnProduct { product, drawing })?,
            Place::Scratch => {
                let elements = sizes.k * sizes.m;
                let extents = [batches.into(), elements.into(), sizes.m.into()];
                let params = Draw { drawing, w: product.b, extents };
                let grid = Grid::each(batches * elements.div_ceil(4));
                exec.launch_with(Kernel::new(&DRAW, "draw", product.storage), grid, &params)?;
                product.launch(exec)?;
            }
        }
    }
    Ok(())
}

/// What is drawn, from matrix `first` on.
fn drawing(op: &StochasticLinear, exec: &CudaExec, sizes: &Sizes, inputs: &[Buf], first: usize) -> Result<Drawing> {
    let law = op.matrix.law(sizes.k);
    let (kind, [a, b, c, _]) = law_words(law);
    let ids = match op.matrix.sharing {
        Sharing::PerImage => inputs[2].address()?.after(first * size_of::<u32>()),
        Sharing::Batch | Sharing::PerToken => Param::NULL,
    };
    Ok(Drawing {
        state: inputs[1].address()?,
        ids,
        table: law_table(exec, law)?,
        stream: op.stream.0,
        kind,
        identity: u32::from(op.matrix.mean == Mean::Identity),
        unused: 0,
        law: [a, b, c, 0.0],
    })
}
