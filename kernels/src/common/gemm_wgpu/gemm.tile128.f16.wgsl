// C = A B in registers and workgroup memory, operands rounded to f16, sums in f32, for graphics cards, where there is work
// for all their cores (see gemm.wgsl for operands and epilogues).
//
// Mapping: a workgroup of 256 invocations computes a tile of 128 rows and 128 columns, 16 steps of k at a time through
// workgroup memory (8 KiB); each invocation keeps 8 rows and 8 columns in registers. A sum may be divided into
// parts of p.chunk steps, each with its own C.
// Bytes: A read n / 128 times, B m / 128 times, C written once (read too where it adds).
// Order: every element is summed over k in order, one fused multiply-add per step.
// Tolerance: that of such a sum of operands rounded to f16, 5e-4 of each; beyond 65,504 they are infinite.
enable f16;
#let T 16
#let Q 2
#let E f16
#include "gemm.tiled.wgsl"
