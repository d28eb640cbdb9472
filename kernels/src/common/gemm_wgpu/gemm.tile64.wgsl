// C = A B in registers and workgroup memory, for graphics cards (see gemm.wgsl for operands and epilogues).
//
// Mapping: a workgroup of 128 invocations computes a tile of 64 rows and 64 columns, 16 steps of k at a time through
// workgroup memory (8 KiB); each invocation keeps 8 rows and 4 columns in registers. A sum may be divided into
// parts of p.chunk steps, each with its own C.
// Bytes: A read n / 64 times, B m / 64 times, C written once (read too where it adds).
// Order: every element is summed over k in order, one fused multiply-add per step.
// Tolerance: that of such a sum; the prologue and the epilogue round once per operation.
#let T 8
#let Q 1
#let E f32
#include "gemm.tiled.wgsl"
