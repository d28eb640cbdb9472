// What attention's kernels on tensor cores share; tensors in bf16, heads of width HEAD_WIDTH, a multiple of 16.
//
// A warp works on 16 rows: sums of products [16, 16] are float [2][4], of which a lane has rows g and g + 8 (elements 0, 1 and
// 2, 3) and columns 2 t, 2 t + 1 of eight, lane = 4 g + t. Sums of one product are the operand of the next one without leaving
// registers. Beyond the last token rows are zeros, in operands and hence in sums.
#pragma once
#include "attention.cuh"
#include "tile.cuh"

constexpr int width = HEAD_WIDTH;
constexpr int steps = width / 16;  // of 16 features
constexpr float log2_e = 1.44269504f;

typedef Tile<width> Features;             // [rows, width] of a head
typedef unsigned Operand[steps][4];       // [16, width] of a warp, as the operand a
typedef float Sums[steps][2][4];          // [16, width] of a warp

__device__ __forceinline__ unsigned lane_row() { return threadIdx.x % 32 / 4; }
__device__ __forceinline__ unsigned lane_column() { return threadIdx.x % 4 * 2; }
__device__ __forceinline__ unsigned warp_index() { return threadIdx.x / 32; }

__device__ __forceinline__ Rows plain_rows(const Attention& p, const Place& place, const real* tensor) {
  return {tensor + place.plain, plain_stride(p)};
}

// Rows `row` to `row` + 15 of a head in memory.
__device__ __forceinline__ void fetch(Operand& a, const Attention& p, Rows rows, unsigned row) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    unsigned r = row + lane_row() + 8 * h;
    const unsigned* from = (const unsigned*)(rows.first + min(r, p.tokens - 1) * rows.stride + lane_column());
#pragma unroll
    for (int k = 0; k < steps; k++) {
      a[k][h] = r < p.tokens ? from[8 * k] : 0;
      a[k][2 + h] = r < p.tokens ? from[8 * k + 4] : 0;
    }
  }
}

__device__ __forceinline__ void clear(Sums& sums) {
#pragma unroll
  for (int e = 0; e < 8 * steps; e++) sums[e / 8][e / 4 % 2][e % 4] = 0.0f;
}

// 16 rows of a tile, read as the operand a where they are used: fewer registers than an Operand.
struct Placed {
  Features tile;
  unsigned row;
};

__device__ __forceinline__ void left_of(unsigned (&a)[4], const Operand& operand, int step) {
#pragma unroll
  for (int e = 0; e < 4; e++) a[e] = operand[step][e];
}
__device__ __forceinline__ void left_of(unsigned (&a)[4], const Placed& placed, int step) {
  rows_left(a, placed.tile, placed.row, 2 * step);
}

// d [16, 16] = a b', of rows `row` to `row` + 15 of b.
template <class Left>
__device__ __forceinline__ void multiply_rows(float (&d)[2][4], const Left& a, Features b, unsigned row) {
#pragma unroll
  for (int e = 0; e < 8; e++) d[e / 4][e % 4] = 0.0f;
#pragma unroll
  for (int k = 0; k < steps; k++) {
    unsigned left[4], right[4];
    left_of(left, a, k);
    rows_right(right, b, row, 2 * k);
    multiply_two(d, left, right);
  }
}

// sums [16, width] += a b, of rows `row` to `row` + 15 of b.
__device__ __forceinline__ void add_rows(Sums& sums, const unsigned (&a)[4], Features b, unsigned row) {
#pragma unroll
  for (int k = 0; k < steps; k++) {
    unsigned right[4];
    columns_right(right, b, row, 2 * k);
    multiply_two(sums[k], a, right);
  }
}

// The weight of a score whose row's log-sum-exp is l. The product is rounded as it was for l: fused with the difference it would
// leave its rounding error, which is no small number where scores are large.
__device__ __forceinline__ float weight_of(float score, float scale, float l) {
  return exp2_approx((__fmul_rn(score, scale) - l) * log2_e);
}

// Folded over the 4 lanes that share rows; in the same order in all of them.
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}
// NaN is not the largest: it comes back through the exponentials.
__device__ __forceinline__ float quad_top(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

// Writes or adds [16, 16] sums, times a factor for each half of the rows. Neighbouring lanes swap, so that a lane writes 8 bytes,
// and four lanes a sector of 32.
__device__ __forceinline__ void put_square(const Attention& p, Rows to, unsigned row, unsigned column, const float (&d)[2][4],
                                           float upper, float lower) {
  bool odd = threadIdx.x % 2;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float factor = h ? lower : upper;
    float x = d[0][2 * h] * factor, y = d[0][2 * h + 1] * factor;
    float z = d[1][2 * h] * factor, w = d[1][2 * h + 1] * factor;
    float first = __shfl_xor_sync(~0u, odd ? x : z, 1), second = __shfl_xor_sync(~0u, odd ? y : w, 1);
    float4 v = odd ? make_float4(first, second, z, w) : make_float4(x, y, first, second);
    unsigned r = row + lane_row() + 8 * h;
    if (r >= p.tokens) continue;
    real* at = (real*)to.first + r * to.stride + column + (odd ? 8 : 0) + threadIdx.x % 4 / 2 * 4;
    if (p.add) {
      float4 old = load4(at, 0);
      v = make_float4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w);
    }
    store4(at, 0, v);
  }
}

__device__ __forceinline__ void put(const Attention& p, Rows to, unsigned row, const Sums& sums, float upper, float lower) {
#pragma unroll
  for (int k = 0; k < steps; k++) put_square(p, to, row, 16 * k, sums[k], upper, lower);
}
