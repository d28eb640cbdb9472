// C = A B in registers and workgroup memory, for graphics cards, where there is work for all their cores (see gemm.wgsl for operands and epilogues).
//
// Mapping: a workgroup of 256 invocations computes a tile of 128 rows and 128 columns, 16 steps of k at a time through
// workgroup memory (16 KiB); each invocation keeps 8 rows and 8 columns in registers. A sum may be divided into
// parts of p.chunk steps, each with its own C.
// Bytes: A read n / 128 times, B m / 128 times, C written once (read too where it adds).
// Order: every element is summed over k in order, one fused multiply-add per step.
// Tolerance: that of such a sum; the prologue and the epilogue round once per operation.
#let T 16
#let Q 2
#let E f32
#include "gemm.tiled.wgsl"
