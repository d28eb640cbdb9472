//! What the CPU kernels share, in reading order.
//!
//! - [`simd`]: compiles a loop for AVX-512, AVX2 and the baseline, and picks one at run time.
//! - [`math`]: exponential, GELU, tanh and fixed-order reductions that such loops vectorise.
//! - [`parallel`]: disjoint blocks and scratch handed to threads, without allocation.
//! - [`gemm`]: the packed matrix product with its fused prologue and epilogue.

pub mod gemm;
pub mod math;
pub mod parallel;
pub mod simd;
