// Products of a warpgroup (wgmma) on what bulk copies (TMA) bring; weights are its operand in registers.
// lab: tile 64, threads 128, shared 61440, multiples 1 1 1 64, boxes 64 208, capability 90, bf16
//
// As 04: one warpgroup, 64 queries, at most 208 tokens. One thread starts three copies; scores are four products of [64, 208], and the
// output 13 of [64, 64], whose operand of 16 keys each thread has in its registers. Keys behind the last token come as zeros.
#define HEAD_WIDTH 64
#include "ptx90.cuh"
#include "attention_hopper.cuh"
#include "attention_softmax.cuh"

constexpr int blocks = 13, q_bytes = group_rows * row_bytes, k_bytes = 16 * blocks * row_bytes;

extern "C" __global__ void __launch_bounds__(threads, 2)
    attention(const __grid_constant__ TensorMap queries, const __grid_constant__ TensorMap keys, real* out, unsigned b, unsigned n,
              unsigned h, unsigned d) {
  extern __shared__ __align__(1024) Bytes memory[];
  __shared__ Mbarrier come[2];
  Bytes *q = memory, *k = q + q_bytes, *v = k + k_bytes;
  Attention p = {};
  p.result = out, p.tokens = n, p.heads = h, p.width = d, p.blocks = (n + own_rows - 1) / own_rows, p.parts = 1;
  Place place = place_of(p);
  if (threadIdx.x == 0) {
    int head = place.task % h, image = place.task / h;
    mbarrier_init(come, 1);
    mbarrier_init(come + 1, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(come, q_bytes + k_bytes);
    tensor_load(q, queries, come, 0, place.row, head, image);
    tensor_load(k, keys, come, 0, 0, h + head, image);
    mbarrier_arrive_expect(come + 1, k_bytes);
    tensor_load(v, keys, come + 1, 0, 0, 2 * h + head, image);
  }
  __syncthreads();
  mbarrier_wait(come, 0);
  Scores<blocks> s;
  Softened<blocks> weights;
  group_fence();
  group_rows_product(s.at, q, 0, k, 0);
  group_commit();
  group_wait<0>();
  group_settle(flat(s.at));
  if (n > 16 * (blocks - 1))
    mask(s, blocks - 1, n);
  else
    mask(s, 0, n);
  float scale = log2_e * rsqrtf((float)d), sum[2];
#pragma unroll
  for (int half = 0; half < 2; half++) sum[half] = soften(weights, s, half, scale, top_of(s, half, lowest));
  mbarrier_wait(come + 1, 0);
  Sums sums;
  group_fence();
  group_features_product(sums, weights.at, v, 0, false);
  group_commit();
  sum[0] = quad_sum(sum[0]);
  sum[1] = quad_sum(sum[1]);
  group_wait<0>();
  group_keep(weights.at);
  group_settle(flat(sums));
  put(p, {out + place.plain, plain_stride(p)}, place.row + warp_row(), sums, 1.0f / sum[0], 1.0f / sum[1]);
}
