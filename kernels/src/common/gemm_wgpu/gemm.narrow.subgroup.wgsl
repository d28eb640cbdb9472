// C = A B in registers, operands spread through a subgroup: for software drivers, where C is narrow (see gemm.wgsl for operands
// and epilogues).
//
// Mapping: a workgroup is one subgroup of WIDTH invocations; each 8 of them compute a tile of 32 rows and 32 columns,
// and lane l of the 8 owns columns 4 l .. 4 l + 3 of all its rows: 32 vec4. Four steps of k per turn: each element of
// A is loaded by one lane and handed to the others, because a load costs a software driver a loop over the lanes.
// Bytes: A read n / 32 times, B m / 32 times, C written once (read too where it adds).
// Order: every element is summed over k in order, one fused multiply-add per step.
// Tolerance: that of such a sum; the prologue and the epilogue round once per operation.
#let Q 1
#include "gemm.subgroup.wgsl"
