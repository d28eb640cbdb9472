// C = A B in registers and workgroup memory, operands rounded to f16, sums in f32, for graphics cards (see gemm.wgsl
// for operands and epilogues).
//
// Mapping: a workgroup of 128 invocations computes a tile of 64 rows and 64 columns, 16 steps of k at a time through
// workgroup memory (4 KiB); each invocation keeps 8 rows and 4 columns in registers. A sum may be divided into
// parts of p.chunk steps, each with its own C.
// Bytes: A read n / 64 times, B m / 64 times, C written once (read too where it adds).
// Order: every element is summed over k in order, one fused multiply-add per step.
// Tolerance: that of such a sum of operands rounded to f16, 5e-4 of each; beyond 65,504 they are infinite.
enable f16;
#let T 8
#let Q 1
#let E f16
#include "gemm.tiled.wgsl"
