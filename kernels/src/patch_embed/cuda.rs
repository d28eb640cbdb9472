//! Launches on CUDA: products whose operand is read from the image, or written to it, where its patches lie.

use engine::device::cuda::{Caps, CudaExec, Param};
use engine::{Backward, Forward, Inputs, Result, Scratch, Spec};

use super::Sizes;
use crate::common::cuda::grad_at;
use crate::common::gemm_cuda::{ColumnSums, Image, Layout, Operand, Product};

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
    let sums = if wanted.has(2) { ColumnSums::scratch(rows, embed) } else { 0 };
    Scratch { forward: 0, backward: product.max(sums) }
}

pub(super) fn forward(exec: &mut CudaExec, io: &Forward) -> Result<()> {
    let sizes = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let args = [io.inputs[0].address()?, io.inputs[1].address()?, io.output.address()?];
    let product = Product {
        bias: Param::or_null(io.inputs.get(2).map(|bias| bias.address()))?,
        image: image(&sizes, Operand::A),
        ..Product::new(io.output.spec().dtype, Layout::Nt, extents(&sizes), args)
    };
    product.launch(exec)
}

pub(super) fn backward(exec: &mut CudaExec, io: &Backward) -> Result<()> {
    let sizes = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let [rows, embed, inner] = extents(&sizes);
    let storage = io.d_output.spec().dtype;
    let dy = io.d_output.address()?;
    if let Some((dx, add)) = grad_at(io.d_inputs[0].as_ref())? {
        let args = [dy, io.inputs[1].address()?, dx];
        let image = image(&sizes, Operand::C);
        Product { add, image, ..Product::new(storage, Layout::Nn, [rows, inner, embed], args) }.launch(exec)?;
    }
    if let Some((dw, add)) = grad_at(io.d_inputs[1].as_ref())? {
        let args = [dy, io.inputs[0].address()?, dw];
        let (image, scratch) = (image(&sizes, Operand::B), io.scratch.address()?);
        let product = Product::new(storage, Layout::Tn, [embed, inner, rows], args);
        Product { add, image, scratch, ..product }.launch(exec)?;
    }
    if let Some((sums, add)) = grad_at(io.d_inputs.get(2).and_then(Option::as_ref))? {
        let (slope, scratch) = (Param::NULL, io.scratch.address()?);
        ColumnSums { storage, rows, width: embed, x: dy, slope, sums, add, scratch }.launch(exec)?;
    }
    Ok(())
}
