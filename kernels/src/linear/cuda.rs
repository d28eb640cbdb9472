//! Launches on CUDA: one product per pass with its prologue and epilogue, and the bias gradient.

use engine::device::cuda::{ALIGNMENT, Caps, CudaExec, Grid, Kernel, Param};
use engine::device::source::Source;
use engine::{Backward, DType, Forward, Inputs, Result, Scratch, Spec};

use super::{Linear, Sizes};
use crate::common::cuda::{grad_at, source};
use crate::common::gemm_cuda::{ColumnSums, Layout, Product, Slope};

static SCALE: Source = source("kernels/src/linear/scale.cu", include_str!("scale.cu"));

/// `dW = da' x` `[n, k]`, with the sums of da where `db` is wanted too.
fn weight_product(storage: DType, Sizes { m, n, k }: Sizes, a_sums: Option<(Param, bool)>) -> Product {
    Product { a_sums, ..Product::of(storage, Layout::Tn, [n, k, m]) }
}

/// Bytes of da, where it is written down: tensor cores take no factor of an operand.
fn scaled(op: &Linear, storage: DType, sizes: Sizes, caps: Caps) -> usize {
    let written = op.activation.is_some() && weight_product(storage, sizes, None).refused(caps).is_none();
    if written { (sizes.m * sizes.n * storage.size()).next_multiple_of(ALIGNMENT) } else { 0 }
}

pub(super) fn scratch(op: &Linear, inputs: &[Spec], wanted: Inputs, caps: Caps) -> Scratch {
    let sizes = Sizes::of(inputs);
    let storage = inputs.first().map_or(DType::F32, |x| x.dtype);
    let a_sums = wanted.has(2).then_some((Param::NULL, false));
    let product = if wanted.has(1) { weight_product(storage, sizes, a_sums).scratch(caps) } else { 0 };
    let alone = wanted.has(2) && !wanted.has(1);
    let sums = if alone { ColumnSums::scratch(sizes.m, sizes.n) } else { 0 };
    Scratch { forward: 0, backward: scaled(op, storage, sizes, caps) + product.max(sums) }
}

pub(super) fn forward(op: &Linear, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let Sizes { m, n, k } = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let slope = io.extras.first().map(|extra| extra.address()).transpose()?;
    let args = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let product = Product {
        bias: Param::or_null(io.inputs.get(2).map(|bias| bias.address()))?,
        activation: op.activation,
        slope: slope.map_or(Slope::None, Slope::Store),
        ..Product::new(io.output.spec().dtype, Layout::Nt, [m, n, k], args)
    };
    product.launch(exec)
}

pub(super) fn backward(op: &Linear, exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let sizes = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let Sizes { m, n, k } = sizes;
    let storage = io.d_output.spec().dtype;
    let mut da = io.d_output.address()?;
    let derivative = io.extras.first().map(|extra| extra.address()).transpose()?;
    let (mut slope, mut scratch) = (derivative.map_or(Slope::None, Slope::Factor), io.scratch.address()?);
    let bytes = scaled(op, storage, sizes, exec.caps());
    if let (Some(derivative), true) = (derivative, bytes > 0) {
        let eighths = m * n / 8;
        let params = [da, derivative, scratch, eighths.into()];
        exec.launch(Kernel::new(&SCALE, "scale", storage), Grid::each(eighths), &params)?;
        (da, slope, scratch) = (scratch, Slope::None, scratch.after(bytes));
    }
    if let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? {
        let args = [da, io.inputs[1].address()?, dx];
        Product { add, slope, ..Product::new(storage, Layout::Nn, [m, k, n], args) }.launch(exec)?;
    }
    let db = grad_at(io.d_inputs.get(2).and_then(Option::as_ref))?;
    if let Some((dw, add)) = grad_at(io.d_inputs[1].as_ref())? {
        let product = weight_product(storage, sizes, db);
        let b = io.inputs[0].address()?;
        return Product { a: da, b, c: dw, add, slope, scratch, ..product }.launch(exec);
    }
    let Some((sums, add)) = db else { return Ok(()) };
    let slope = if let Slope::Factor(slope) = slope { slope } else { Param::NULL };
    ColumnSums { storage, rows: m, width: n, x: da, slope, sums, add, scratch }.launch(exec)
}
