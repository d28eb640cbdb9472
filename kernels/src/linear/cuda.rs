//! Launches on CUDA: one product per pass with its prologue and epilogue, and the bias gradient.

use engine::device::cuda::{Caps, CudaExec, Param};
use engine::{Backward, DType, Forward, Inputs, Result, Scratch, Spec};

use super::{Linear, Sizes};
use crate::common::cuda::grad_at;
use crate::common::gemm_cuda::{ColumnSums, Layout, Product};

/// `dW = dy' x` `[n, k]`, with the sums of dy where `db` is wanted too.
fn weight_product(storage: DType, Sizes { m, n, k }: Sizes, a_sums: Option<(Param, bool)>) -> Product {
    Product { a_sums, ..Product::of(storage, Layout::Tn, [n, k, m]) }
}

pub(super) fn scratch(inputs: &[Spec], wanted: Inputs, caps: Caps) -> Scratch {
    let sizes = Sizes::of(inputs);
    let storage = inputs.first().map_or(DType::F32, |x| x.dtype);
    let a_sums = wanted.has(2).then_some((Param::NULL, false));
    let product = if wanted.has(1) { weight_product(storage, sizes, a_sums).scratch(caps) } else { 0 };
    let sums = if wanted.has(2) && !wanted.has(1) { ColumnSums::scratch(sizes.m, sizes.n) } else { 0 };
    Scratch { forward: 0, backward: product.max(sums) }
}

pub(super) fn forward(op: &Linear, exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let Sizes { m, n, k } = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let slope = Param::or_null(io.extras.first().map(|extra| extra.address()))?;
    let args = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let product = Product {
        bias: Param::or_null(io.inputs.get(2).map(|bias| bias.address()))?,
        activation: op.activation,
        slope,
        ..Product::new(io.output.spec().dtype, Layout::Nt, [m, n, k], args)
    };
    product.launch(exec)
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let sizes = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let Sizes { m, n, k } = sizes;
    let storage = io.d_output.spec().dtype;
    let (dy, scratch) = (io.d_output.address()?, io.scratch.address()?);
    if let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? {
        let args = [dy, io.inputs[1].address()?, dx];
        let times = io.d_inputs[0].as_ref().and_then(|grad| grad.times);
        let times = Param::or_null(times.map(|times| times.address()))?;
        Product { add, times, ..Product::new(storage, Layout::Nn, [m, k, n], args) }.launch(exec)?;
    }
    let db = grad_at(io.d_inputs.get(2).and_then(Option::as_ref))?;
    if let Some((dw, add)) = grad_at(io.d_inputs[1].as_ref())? {
        let b = io.inputs[0].address()?;
        return Product { a: dy, b, c: dw, add, scratch, ..weight_product(storage, sizes, db) }.launch(exec);
    }
    let Some((sums, add)) = db else { return Ok(()) };
    ColumnSums { storage, rows: m, width: n, x: dy, sums, add, scratch }.launch(exec)
}
