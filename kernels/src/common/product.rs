//! What the GPU backends' matrix products have in common: how operands lie, images as matrices of their patches, and the
//! numbers that kernels know them by.

use crate::activation::Activation;

/// How the operands of `C = A B` lie in memory; C is `[m, n]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// A `[m, k]`, B `[n, k]`: `y = x W'`.
    Nt,
    /// A `[m, k]`, B `[k, n]`: `dx = dy W`.
    Nn,
    /// A `[k, m]`, B `[k, n]`: `dW = dy' x`.
    Tn,
}

/// An operand: 1, 2 and 3 in the kernels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operand {
    A,
    B,
    C,
}

/// Images `[b, channels, height, width]` as the matrix of their patches: rows (b, patch), columns (channel, y, x).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    /// Which operand they are.
    pub operand: Operand,
    /// Patches along the height and the width.
    pub grid: (usize, usize),
    /// Side of a patch.
    pub side: usize,
    pub channels: usize,
}

/// The operand that lies in an image, as kernels take it; 0 where none does.
pub(crate) fn image_number(image: Option<Image>) -> u32 {
    match image.map(|image| image.operand) {
        None => 0,
        Some(Operand::A) => 1,
        Some(Operand::B) => 2,
        Some(Operand::C) => 3,
    }
}

/// An activation as kernels take it.
pub(crate) fn activation_number(activation: Option<Activation>) -> u32 {
    match activation {
        None => 0,
        Some(Activation::Relu) => 1,
        Some(Activation::Gelu) => 2,
    }
}
