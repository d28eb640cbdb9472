// Tensor cores with online softmax: 64 queries and 64 keys at a time, scores and weights in registers.
// lab: tile 64, threads 128, shared 16384, multiples 1 1 1 64, bf16
//
// As 02 with mma.sync, a warp for 16 queries. Sums of the first product lie in a lane as the second one wants its operand, so that
// weights never leave the warp. The functions are those of the shipped kernels (attention_softmax.cuh).
#define HEAD_WIDTH 64
#include "attention_softmax.cuh"

constexpr unsigned tile = 64;
constexpr int blocks = tile / 16;

extern "C" __global__ void __launch_bounds__(threads, 3) attention(const real* qkv, real* out, unsigned b, unsigned n, unsigned h,
                                                                   unsigned d) {
  extern __shared__ __align__(128) real shared[];
  Features keys = {shared}, values = {shared + tile * width};
  Attention p = {};
  p.qkv = qkv, p.result = out, p.tokens = n, p.heads = h, p.width = d, p.blocks = (n + tile - 1) / tile, p.parts = 1;
  Place place = place_of(p);
  Rows k = packed_rows(p, place, keys_part), v = packed_rows(p, place, values_part);
  unsigned row = place.row + 16 * warp_index();
  float scale = log2_e * rsqrtf((float)d), top[2] = {lowest, lowest}, sum[2] = {};
  Operand q;
  Sums sums;
  clear(sums);
  fetch(q, p, packed_rows(p, place, queries_part), row);
  for (unsigned key = 0; key < n; key += tile) {
    copy_rows(keys, k.first + key * k.stride, k.stride, tile, n - key);
    copy_rows(values, v.first + key * v.stride, v.stride, tile, n - key);
    copy_async_wait_all();
    __syncthreads();
    Scores<blocks> s;
    Softened<blocks> weights;
#pragma unroll
    for (int i = 0; i < blocks; i++) multiply_rows(s.at[i], q, keys, 16 * i);
    if (key + tile > n) mask(s, 0, n - key);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float next = top_of(s, half, top[half]), shrink = exp2_approx((top[half] - next) * scale);
      top[half] = next;
      sum[half] = fmaf(sum[half], shrink, soften(weights, s, half, scale, next));
#pragma unroll
      for (int e = 0; e < 4 * steps; e++) sums[e / 4][e / 2 % 2][2 * half + e % 2] *= shrink;
    }
#pragma unroll
    for (int i = 0; i < blocks; i++) add_rows(sums, weights.at[i], values, 16 * i);
    __syncthreads();  // before the tiles are written again
  }
  put(p, {out + place.plain, plain_stride(p)}, row, sums, 1.0f / quad_sum(sum[0]), 1.0f / quad_sum(sum[1]));
}
