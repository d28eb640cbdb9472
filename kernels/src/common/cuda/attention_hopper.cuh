// What attention's kernels for sm_90a share: tensors in bf16, heads of width HEAD_WIDTH, 32 or 64.
//
// Rows of a head come by bulk copies, in their swizzle; those behind the last token come as zeros, since an image's tokens are a
// dimension of the map. Sums [64, n] of a warpgroup are, for each of its warps, sums [16, n] of attention_tensor.cuh.
#pragma once
#include "attention_tensor.cuh"
#include "ptx90.cuh"

constexpr int row_bytes = 2 * width, group_rows = 64;
constexpr int consumers = 256, all_threads = 384;  // two warpgroups that compute, and one that fetches
constexpr int consumer_warps = consumers / 32;
constexpr int consumer_registers = 232, producer_registers = 40;

typedef unsigned char Bytes;

// Sums in the order of their registers.
template <int blocks>
__device__ __forceinline__ float (&flat(float (&sums)[blocks][2][4]))[8 * blocks] {
  return (float(&)[8 * blocks])sums;
}

// Operand of rows from `row` on, which are its m or n, and of 16 features.
__device__ __forceinline__ unsigned long long by_rows(const Bytes* tile, int row, int step) {
  return operand_of<row_bytes>(tile + row * row_bytes + 32 * step, 16, 8 * row_bytes);
}
// Operand of 16 rows, which are its k, and of all features.
__device__ __forceinline__ unsigned long long by_features(const Bytes* tile, int row) {
  return operand_of<row_bytes>(tile + row * row_bytes, 16, 8 * row_bytes);
}

// d [64, 16 blocks] = a b' of rows from `row` on of a, and from `other` on of b.
template <int blocks>
__device__ __forceinline__ void group_rows_product(float (&d)[blocks][2][4], const Bytes* a, int row, const Bytes* b, int other) {
#pragma unroll
  for (int k = 0; k < steps; k++)
    group_multiply<false, false>(flat(d), by_rows(a, row, k), by_rows(b, other, k), k > 0);
}

// sums [64, width] = a b, or += where `more`; a [64, 16 blocks] in registers, b the rows from `row` on.
template <int blocks>
__device__ __forceinline__ void group_features_product(Sums& sums, const unsigned (&a)[blocks][4], const Bytes* b, int row,
                                                       bool more) {
#pragma unroll
  for (int k = 0; k < blocks; k++) group_multiply<true>(flat(sums), a[k], by_features(b, row + 16 * k), more || k > 0);
}

__device__ __forceinline__ unsigned heads_of(const Attention& p) { return (unsigned)(p.rows / p.tokens); }

// First row of the warp's in its warpgroup's 64.
__device__ __forceinline__ unsigned warp_row() { return threadIdx.x / 32 % 4 * 16; }
