// Blocks that stay: one thread fetches the next head's queries, keys and values while two warpgroups compute.
// lab: tile 64, threads 384, shared 172032, multiples 1 1 1 64, persistent 1, boxes 64 208, capability 90, bf16
//
// As 05, a head after the other, in two stages; the two warpgroups take 64 queries each in turn, each at its own pace. Keys and values
// are read from memory once per head. So is the shipped kernel (attention_forward90.cuh) built, for three numbers of tokens.
#define HEAD_WIDTH 64
#include "ptx90.cuh"
#include "attention_hopper.cuh"
#include "attention_softmax.cuh"

constexpr int blocks = 13, q_tiles = 4, q_bytes = group_rows * row_bytes, k_bytes = 16 * blocks * row_bytes;
constexpr int stage_bytes = q_tiles * q_bytes + 2 * k_bytes;

// What one head after the other goes through.
struct Stages {
  Bytes* memory;
  Mbarrier *come, *left;

  __device__ __forceinline__ Bytes* q(unsigned turn) const { return memory + turn % 2 * stage_bytes; }
  __device__ __forceinline__ Bytes* k(unsigned turn) const { return q(turn) + q_tiles * q_bytes; }
  __device__ __forceinline__ Bytes* v(unsigned turn) const { return k(turn) + k_bytes; }
};

__device__ __forceinline__ void fetch_all(const Attention& p, Stages stages, const TensorMap& queries, const TensorMap& keys,
                                          unsigned heads) {
  unsigned turn = 0, tiles = (p.tokens + group_rows - 1) / group_rows;
  for (unsigned task = blockIdx.x; task < heads; task += gridDim.x, turn++) {
    Mbarrier* come = stages.come + turn % 2;
    int head = task % p.heads, image = task / p.heads, all = p.heads;
    mbarrier_wait(stages.left + turn % 2, turn / 2 % 2 ^ 1);
    mbarrier_arrive_expect(come, tiles * q_bytes + 2 * k_bytes);
    for (unsigned i = 0; i < tiles; i++) tensor_load(stages.q(turn) + i * q_bytes, queries, come, 0, i * group_rows, head, image);
    tensor_load(stages.k(turn), keys, come, 0, 0, all + head, image);
    tensor_load(stages.v(turn), keys, come, 0, 0, 2 * all + head, image);
  }
}

// 64 queries from `row` on of a head.
__device__ __forceinline__ void attend(const Attention& p, const Place& place, const Bytes* q, const Bytes* k, const Bytes* v,
                                       unsigned row) {
  Scores<blocks> s;
  Softened<blocks> weights;
  group_fence();
  group_rows_product(s.at, q, row, k, 0);
  group_commit();
  group_wait<0>();
  group_settle(flat(s.at));
  if (p.tokens <= 16 * (blocks - 1)) mask(s, 0, p.tokens);
  mask(s, blocks - 1, p.tokens);
  float sum[2];
#pragma unroll
  for (int half = 0; half < 2; half++) sum[half] = soften(weights, s, half, p.scale, top_of(s, half, lowest));
  Sums sums;
  group_fence();
  group_features_product(sums, weights.at, v, 0, false);
  group_commit();
  sum[0] = quad_sum(sum[0]);
  sum[1] = quad_sum(sum[1]);
  group_wait<0>();
  group_keep(weights.at);
  group_settle(flat(sums));
  put(p, {p.result + place.plain, plain_stride(p)}, row + warp_row(), sums, 1.0f / sum[0], 1.0f / sum[1]);
}

extern "C" __global__ void __launch_bounds__(all_threads, 1)
    attention(const __grid_constant__ TensorMap queries, const __grid_constant__ TensorMap keys, real* out, unsigned b, unsigned n,
              unsigned h, unsigned d) {
  extern __shared__ __align__(1024) Bytes memory[];
  __shared__ Mbarrier come[2], left[2];
  Stages stages = {memory, come, left};
  Attention p = {};
  p.result = out, p.tokens = n, p.heads = h, p.width = d, p.blocks = 1, p.parts = 1, p.scale = log2_e * rsqrtf((float)d);
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; i++) {
      mbarrier_init(come + i, 1);
      mbarrier_init(left + i, consumer_warps);
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x >= consumers) {
    fewer_registers<producer_registers>();
    if (threadIdx.x == consumers) fetch_all(p, stages, queries, keys, b * h);
    return;
  }
  more_registers<consumer_registers>();
  unsigned turn = 0;
  for (unsigned task = blockIdx.x; task < b * h; task += gridDim.x, turn++) {
    mbarrier_wait(come + turn % 2, turn / 2 % 2);
    Place place = place_of(p, task);
    for (unsigned row = threadIdx.x / 128 * group_rows; row < n; row += 2 * group_rows)
      attend(p, place, stages.q(turn), stages.k(turn), stages.v(turn), row);
    if (threadIdx.x % 32 == 0) mbarrier_arrive(left + turn % 2);
  }
}
