//! Launches on CUDA: products whose operand is read from the image, or written to it, where its patches lie.

use engine::device::cuda::{Caps, CudaExec, Param};
use engine::{Backward, DType, Forward, Inputs, Result, Scratch, Spec};

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

/// `dW`, with the bias gradient where that is wanted too.
fn weight_product(storage: DType, sizes: &Sizes, a_sums: Option<(Param, bool)>) -> Product {
    let [rows, embed, inner] = extents(sizes);
    Product { a_sums, image: image(sizes, Operand::B), ..Product::of(storage, Layout::Tn, [embed, inner, rows]) }
}

pub(super) fn scratch(inputs: &[Spec], wanted: Inputs, caps: Caps) -> Scratch {
    let sizes = Sizes::of(inputs);
    let [rows, embed, _] = extents(&sizes);
    let storage = inputs.first().map_or(DType::F32, |x| x.dtype);
    let a_sums = wanted.has(2).then_some((Param::NULL, false));
    let product = if wanted.has(1) { weight_product(storage, &sizes, a_sums).scratch(caps) } else { 0 };
    let sums = if wanted.has(2) && !wanted.has(1) { ColumnSums::scratch(rows, embed) } else { 0 };
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
    let db = grad_at(io.d_inputs.get(2).and_then(Option::as_ref))?;
    let scratch = io.scratch.address()?;
    if let Some((dw, add)) = grad_at(io.d_inputs[1].as_ref())? {
        let product = weight_product(storage, &sizes, db);
        let b = io.inputs[0].address()?;
        return Product { a: dy, b, c: dw, add, scratch, ..product }.launch(exec);
    }
    let Some((sums, add)) = db else { return Ok(()) };
    ColumnSums { storage, rows, width: embed, x: dy, sums, add, scratch }.launch(exec)
}
