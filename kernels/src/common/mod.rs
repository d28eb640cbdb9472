//! What kernels share, in reading order; all but `gpu`, `gemm_wgpu` and `wgsl/` is for the CPU.
//!
//! - [`simd`]: compiles a loop for AVX-512, AVX2 and the baseline, and picks one at run time.
//! - [`math`]: exponential, GELU, tanh and fixed-order reductions that such loops vectorise.
//! - [`parallel`]: disjoint blocks and scratch handed to threads, without allocation.
//! - [`gemm`]: the packed matrix product with its fused prologue and epilogue.
//! - [`grad`]: writing and adding gradients.
//! - [`random`]: draws from Philox by law, and the random state that ops take as an input.
//! - [`specs`]: checks that ops make of their inputs.
//! - `flat`, [`decay`]: flat vectors of parameters, weight decay by position.
//! - [`attack`]: operands and walk of attack steps.
//! - `rows`: log-softmax and sums of one row, gradients row by row.
//! - `labels`: class labels.
//! - `gemm_cuda`, `gemm_wgpu`: matrix products and column sums on CUDA and wgpu.
//! - `cuda`: what the CUDA side of ops shares; `cuda/` and `ptx.cuh` hold the headers that kernels include.
//! - `product`: what the two have in common.
//! - `gpu`: what the WGSL side of ops shares; `wgsl/` holds the files that kernels include.
//! - [`peak`]: the machine's measured ceilings, for benches.

pub mod attack;
pub mod cuda;
pub mod decay;
pub(crate) mod flat;
pub mod gemm;
pub(crate) mod gemm_cuda;
pub(crate) mod gemm_wgpu;
pub(crate) mod gpu;
pub mod grad;
pub(crate) mod labels;
pub mod math;
pub mod parallel;
pub mod peak;
pub(crate) mod product;
pub mod progress;
pub mod random;
pub(crate) mod rows;
pub mod simd;
pub mod specs;
