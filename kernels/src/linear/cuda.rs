//! Launches on CUDA: one product per pass with its prologue and epilogue, and the bias gradient.

use engine::device::cuda::{Caps, CudaExec, Param};
use engine::{Backward, Forward, Inputs, Result, Scratch, Spec};

use super::{Linear, Sizes};
use crate::common::cuda::grad_at;
use crate::common::gemm_cuda::{ColumnSums, Layout, Product, Slope};

pub(super) fn scratch(inputs: &[Spec], wanted: Inputs, caps: Caps) -> Scratch {
    let Sizes { m, n, k } = Sizes::of(inputs);
    let product = if wanted.has(1) { Product::scratch([n, k, m], caps) } else { 0 };
    let sums = if wanted.has(2) { ColumnSums::scratch(m, n) } else { 0 };
    Scratch { forward: 0, backward: product.max(sums) }
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

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let Sizes { m, n, k } = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let storage = io.d_output.spec().dtype;
    let dy = io.d_output.address()?;
    let derivative = io.extras.first().map(|extra| extra.address()).transpose()?;
    let slope = derivative.map_or(Slope::None, Slope::Factor);
    if let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? {
        let args = [dy, io.inputs[1].address()?, dx];
        Product { add, slope, ..Product::new(storage, Layout::Nn, [m, k, n], args) }.launch(exec)?;
    }
    if let Some((dw, add)) = grad_at(io.d_inputs[1].as_ref())? {
        let args = [dy, io.inputs[0].address()?, dw];
        let scratch = io.scratch.address()?;
        Product { add, slope, scratch, ..Product::new(storage, Layout::Tn, [n, k, m], args) }.launch(exec)?;
    }
    if let Some((sums, add)) = grad_at(io.d_inputs.get(2).and_then(Option::as_ref))? {
        let (slope, scratch) = (derivative.unwrap_or(Param::NULL), io.scratch.address()?);
        ColumnSums { storage, rows: m, width: n, x: dy, slope, sums, add, scratch }.launch(exec)?;
    }
    Ok(())
}
