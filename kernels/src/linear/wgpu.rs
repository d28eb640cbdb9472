//! Launches on wgpu: one product per pass with its prologue and epilogue, and the bias gradient.

use engine::device::webgpu::Caps;
use engine::{Backward, Forward, Inputs, Result, Scratch, Spec, WgpuExec};

use super::{Linear, Sizes};
use crate::common::gemm_wgpu::{ColumnSums, Layout, Product};
use crate::common::gpu::{grad_rows, grad_whole};

pub(super) fn scratch(inputs: &[Spec], wanted: Inputs, caps: Caps) -> Scratch {
    let Sizes { m, n, k } = Sizes::of(inputs);
    let product = if wanted.has(1) { Product::scratch([n, k, m], caps) } else { 0 };
    let sums = if wanted.has(2) { ColumnSums::scratch(m, n, caps) } else { 0 };
    Scratch { forward: 0, backward: product.max(sums) }
}

pub(super) fn forward(op: &Linear, exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let Sizes { m, n, k } = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let slope = io.extras.first().map(|extra| extra.rows()).transpose()?;
    let product = Product {
        bias: io.inputs.get(2).map(|bias| bias.whole()).transpose()?,
        activation: op.activation,
        slope,
        ..Product::new(Layout::Nt, [m, n, k], [io.inputs[0].rows()?, io.inputs[1].whole()?, io.output.rows()?])
    };
    product.launch(exec)
}

pub(super) fn backward(exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let Sizes { m, n, k } = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let dy = io.d_output.rows()?;
    if let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? {
        let args = [dy, io.inputs[1].whole()?, dx];
        let times = io.d_inputs[0].as_ref().and_then(|grad| grad.times).map(|times| times.rows()).transpose()?;
        Product { add, times, ..Product::new(Layout::Nn, [m, k, n], args) }.launch(exec)?;
    }
    if let Some((dw, add)) = grad_whole(io.d_inputs[1].as_ref())? {
        let args = [dy, io.inputs[0].rows()?, dw];
        let scratch = Some(io.scratch.whole()?);
        Product { add, scratch, ..Product::new(Layout::Tn, [n, k, m], args) }.launch(exec)?;
    }
    if let Some((sums, add)) = grad_whole(io.d_inputs.get(2).and_then(Option::as_ref))? {
        let scratch = io.scratch.whole()?;
        ColumnSums { rows: m, width: n, x: dy, sums, add, scratch }.launch(exec)?;
    }
    Ok(())
}
