//! Patches are gathered into scratch, an image's worth of memory, and multiplied once.

use engine::{Backward, Forward, Inputs, Mode, Result, Scratch, Spec};

use super::Sizes;
use crate::common::gemm::{Epilogue, Gemm, Mat, MatMut, gemm, gemm_scratch};
use crate::common::math::Float;
use crate::common::parallel::{blocks, for_each_block};

pub(super) fn scratch(inputs: &[Spec], wanted: Inputs, workers: usize) -> Scratch {
    if inputs.first().is_some_and(|x| x.dtype.size() == 8) {
        scratch_of::<f64>(inputs, wanted, workers)
    } else {
        scratch_of::<f32>(inputs, wanted, workers)
    }
}

fn scratch_of<T: Float>(inputs: &[Spec], wanted: Inputs, workers: usize) -> Scratch {
    let sizes = Sizes::of(inputs);
    let (rows, inner, embed) = (sizes.batch * sizes.patches(), sizes.patch_elements(), sizes.embed);
    let dx = if wanted.has(0) { gemm_scratch::<T>(rows, inner, embed, workers) } else { 0 };
    let dw = if wanted.has(1) { gemm_scratch::<T>(embed, inner, rows, workers) } else { 0 };
    let forward = gemm_scratch::<T>(rows, embed, inner, workers);
    Scratch {
        forward: size_of::<T>() * (rows * inner + forward),
        backward: size_of::<T>() * (rows * inner + dx.max(dw)),
    }
}

pub(super) fn forward<T: Float>(mut io: Forward) -> Result<()> {
    let sizes = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let (rows, inner, embed) = (sizes.batch * sizes.patches(), sizes.patch_elements(), sizes.embed);
    let bias = io.inputs.get(2).map(|bias| bias.host::<T>()).transpose()?;
    let (patches, scratch) = io.scratch.scratch::<T>().split_at_mut(rows * inner);
    gather(sizes, io.inputs[0].host()?, patches);
    let weight = Mat::rows(io.inputs[1].host::<T>()?, inner).transposed();
    let c = MatMut::rows(io.output.host::<T>()?, embed);
    let epilogue = Epilogue { bias, ..Epilogue::default() };
    gemm(Gemm { epilogue, ..Gemm::new(rows, embed, inner, Mat::rows(patches, inner), weight, c) }, scratch)
}

pub(super) fn backward<T: Float>(mut io: Backward) -> Result<()> {
    let sizes = Sizes::of(&[io.inputs[0].spec(), io.inputs[1].spec()]);
    let (rows, inner, embed) = (sizes.batch * sizes.patches(), sizes.patch_elements(), sizes.embed);
    let dy = io.d_output.host::<T>()?;
    let (patches, scratch) = io.scratch.scratch::<T>().split_at_mut(rows * inner);
    let (d_x, rest) = io.d_inputs.split_at_mut(1);
    let (d_weight, d_bias) = rest.split_at_mut(1);
    if let Some(Some(grad)) = d_x.first_mut() {
        let weight = Mat::rows(io.inputs[1].host::<T>()?, inner);
        let c = MatMut::rows(&mut *patches, inner);
        gemm(Gemm::new(rows, inner, embed, Mat::rows(dy, embed), weight, c), scratch)?;
        scatter(sizes, patches, grad.mode, grad.buf.host()?);
    }
    if let Some(Some(grad)) = d_weight.first_mut() {
        gather(sizes, io.inputs[0].host()?, patches);
        let accumulate = grad.mode == Mode::Add;
        let c = MatMut::rows(grad.buf.host::<T>()?, inner);
        let product = Gemm::new(embed, inner, rows, Mat::rows(dy, embed).transposed(), Mat::rows(&*patches, inner), c);
        gemm(Gemm { accumulate, ..product }, scratch)?;
    }
    if let Some(Some(grad)) = d_bias.first_mut() {
        let mode = grad.mode;
        let sums = grad.buf.host::<T>()?;
        if mode == Mode::Write {
            sums.fill(T::ZERO);
        }
        for row in dy.chunks_exact(embed) {
            for (sum, &dy) in sums.iter_mut().zip(row) {
                *sum += dy;
            }
        }
    }
    Ok(())
}

/// Start of each row of pixels of a patch: (offset in the patch matrix of the image, offset in the image).
fn segments(sizes: Sizes, mut visit: impl FnMut(usize, usize)) {
    let (rows, columns) = sizes.grid();
    let Sizes { patch, channels, height, width, .. } = sizes;
    let inner = sizes.patch_elements();
    for row in 0..rows {
        for column in 0..columns {
            for channel in 0..channels {
                for i in 0..patch {
                    let at = (row * columns + column) * inner + (channel * patch + i) * patch;
                    visit(at, (channel * height + row * patch + i) * width + column * patch);
                }
            }
        }
    }
}

/// Images [b, c, h, w] to patches [b p, c s s].
fn gather<T: Float>(sizes: Sizes, x: &[T], patches: &mut [T]) {
    let pixels = sizes.channels * sizes.height * sizes.width;
    let image = sizes.patches() * sizes.patch_elements();
    for_each_block(blocks(patches, image), |batch, patches| {
        let x = &x[batch * pixels..][..pixels];
        segments(sizes, |at, pixel| {
            patches[at..at + sizes.patch].copy_from_slice(&x[pixel..pixel + sizes.patch]);
        });
    });
}

/// Patches [b p, c s s] to images [b, c, h, w]; every pixel belongs to one patch.
fn scatter<T: Float>(sizes: Sizes, patches: &[T], mode: Mode, x: &mut [T]) {
    let pixels = sizes.channels * sizes.height * sizes.width;
    let image = sizes.patches() * sizes.patch_elements();
    for_each_block(blocks(x, pixels), |batch, x| {
        let patches = &patches[batch * image..][..image];
        segments(sizes, |at, pixel| {
            for (x, &p) in x[pixel..pixel + sizes.patch].iter_mut().zip(&patches[at..]) {
                *x = if mode == Mode::Add { *x + p } else { p };
            }
        });
    });
}
