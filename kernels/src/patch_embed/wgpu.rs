//! Launches on wgpu: products whose operand is read from the image, or written to it, where its patches lie.

use engine::device::webgpu::Caps;
use engine::{Backward, Forward, Inputs, Result, Scratch, Spec, WgpuExec};

use super::Sizes;
use crate::common::gemm_wgpu::{ColumnSums, Image, Layout, Operand, Product};
use crate::common::gpu::{grad_rows, grad_whole};

/// Rows, columns and inner width of the forward product.
fn extents(sizes: &Sizes) -> [usize; 3] {
    [sizes.batch * sizes.patches(), sizes.embed, sizes.patch_elements()]
}

fn image(sizes: &Sizes, operand: Operand) -> Option<Image> {
    Some(Image { operand, grid: sizes.grid(), side: sizes.patch, channels: sizes.channels })
}

pub(super) fn scratch(inputs: &[Spec], wanted: Inputs, caps: Caps) -> Scratch {
    let [rows, embed, inner] = extents(&Sizes::of(inputs));
    let product = if wanted.has(1) { Product::scratch([embed, inner, rows], caps) } else { 0 };
    let sums = if wanted.has(2) { ColumnSums::scratch(rows, embed, caps) } else { 0 };
    Scratch { forward: 0, backward: product.max(sums) }
}

pub(super) fn forward(exec: &mut WgpuExec, io: &Forward) -> Result<()> {
    let sizes = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let args = [io.inputs[0].rows()?, io.inputs[1].whole()?, io.output.rows()?];
    let product = Product {
        bias: io.inputs.get(2).map(|bias| bias.whole()).transpose()?,
        image: image(&sizes, Operand::A),
        ..Product::new(Layout::Nt, extents(&sizes), args)
    };
    product.launch(exec)
}

pub(super) fn backward(exec: &mut WgpuExec, io: &Backward) -> Result<()> {
    let sizes = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let [rows, embed, inner] = extents(&sizes);
    let dy = io.d_output.rows()?;
    if let Some((dx, add)) = grad_rows(io.d_inputs[0].as_ref())? {
        let args = [dy, io.inputs[1].whole()?, dx];
        let image = image(&sizes, Operand::C);
        Product { add, image, ..Product::new(Layout::Nn, [rows, inner, embed], args) }.launch(exec)?;
    }
    if let Some((dw, add)) = grad_whole(io.d_inputs[1].as_ref())? {
        let args = [dy, io.inputs[0].rows()?, dw];
        let (image, scratch) = (image(&sizes, Operand::B), Some(io.scratch.whole()?));
        Product { add, image, scratch, ..Product::new(Layout::Tn, [embed, inner, rows], args) }.launch(exec)?;
    }
    if let Some((sums, add)) = grad_whole(io.d_inputs.get(2).and_then(Option::as_ref))? {
        let scratch = io.scratch.whole()?;
        ColumnSums { rows, width: embed, x: dy, sums, add, scratch }.launch(exec)?;
    }
    Ok(())
}
