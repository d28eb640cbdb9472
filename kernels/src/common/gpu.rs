//! What the WGSL side of ops shares: the files that kernels include, and sizes as kernels take them.

use engine::device::source::{Library, Source};
use engine::{Grad, Mode, Result};

use engine::Arg;

/// Files that kernels include by name.
pub(crate) const LIBRARY: Library = &[
    ("gemm.tiled.wgsl", include_str!("wgsl/gemm.tiled.wgsl")),
    ("gemm.wgsl", include_str!("wgsl/gemm.wgsl")),
    ("index.wgsl", include_str!("wgsl/index.wgsl")),
    ("math.wgsl", include_str!("wgsl/math.wgsl")),
    ("philox.wgsl", include_str!("wgsl/philox.wgsl")),
    ("reduce.wgsl", include_str!("wgsl/reduce.wgsl")),
];

/// A kernel file with our library. `file` is its path in the repository.
pub(crate) const fn source(file: &'static str, text: &'static str) -> Source {
    Source { file, text, library: LIBRARY }
}

/// A size as kernels take it. Bindings hold far fewer elements than saturate it.
pub(crate) fn word(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A gradient that is wanted: its buffer row by row, and whether it is added to.
pub(crate) fn grad_rows(grad: Option<&Grad>) -> Result<Option<(Arg, bool)>> {
    grad.map(|grad| Ok((grad.buf.rows()?, grad.mode == Mode::Add))).transpose()
}

/// A gradient that is wanted: its buffer as a whole, and whether it is added to.
pub(crate) fn grad_whole(grad: Option<&Grad>) -> Result<Option<(Arg, bool)>> {
    grad.map(|grad| Ok((grad.buf.whole()?, grad.mode == Mode::Add))).transpose()
}

pub(crate) fn missing(op: &str) -> engine::Error {
    engine::Error::new(op, "no wgsl yet")
}
