// Softmax of scores in registers, 16 rows of a warp, and what becomes of its sums: for kernels of attention on tensor cores.
#pragma once
#include "attention_tensor.cuh"

// Scores of 16 rows against 16 keys each, [16, 16 blocks].
template <int blocks>
struct Scores {
  float at[blocks][2][4];
};

// -inf in columns from `tokens` on, of blocks from `from` on.
template <int blocks>
__device__ __forceinline__ void mask(Scores<blocks>& s, int from, unsigned tokens) {
  const float none = __int_as_float(0xff800000);
#pragma unroll
  for (int n = from; n < blocks; n++)
#pragma unroll
    for (int e = 0; e < 8; e++) {
      unsigned column = 16 * n + e / 4 * 8 + lane_column() + e % 2;
      if (column >= tokens) s.at[n][e / 4][e % 4] = none;
    }
}

// The larger of `top` and the scores, of the lane's rows g (half 0) and g + 8, in all lanes of the row.
template <int blocks>
__device__ __forceinline__ float top_of(const Scores<blocks>& s, int half, float top) {
#pragma unroll
  for (int e = 0; e < 4 * blocks; e++) top = fmaxf(top, s.at[e / 4][e / 2 % 2][2 * half + e % 2]);
  return quad_top(top);
}

// Weights of 16 rows and 16 keys each, as the operand a.
template <int blocks>
struct Softened {
  unsigned at[blocks][4];
};

// Scores to weights 2^((s - top) scale), rounded; the sum of the lane's before rounding. The difference first: of large scores, a
// fused s scale - top scale would be a rounding error and no 0.
template <int blocks>
__device__ __forceinline__ float soften(Softened<blocks>& weights, const Scores<blocks>& s, int half, float scale, float top) {
  float sum = 0.0f;
#pragma unroll
  for (int e = 0; e < 2 * blocks; e++) {
    const float* x = &s.at[e / 2][e % 2][2 * half];
    float first = exp2_approx((x[0] - top) * scale), second = exp2_approx((x[1] - top) * scale);
    weights.at[e / 2][e % 2 * 2 + half] = bf16_pair(first, second);
    sum += first;
    sum += second;
  }
  return sum;
}

// Divides by the sums of exponentials, writes, and keeps their logarithms. `top` is that of the scores before scaling.
__device__ __forceinline__ void finish(const Attention& p, const Place& place, unsigned row, const Sums& out,
                                       const float (&top)[2], const float (&sum)[2]) {
  put(p, {p.result + place.plain, plain_stride(p)}, row, out, 1.0f / sum[0], 1.0f / sum[1]);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    unsigned r = row + lane_row() + 8 * half;
    if (p.lse && lane_column() == 0 && r < p.tokens)
      p.lse[place.task * p.tokens + r] = __fmul_rn(top[half], p.scale) + logf(sum[half]);
  }
}
