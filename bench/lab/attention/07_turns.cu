// Turns: while one warpgroup multiplies, the other computes exponentials.
// lab: tile 64, threads 384, shared 172032, multiples 1 1 1 64, persistent 1, boxes 64 208, capability 90, bf16
//
// As 06, but that a warpgroup starts the product of its weights with the values and, right behind it, the next scores, in the next head
// too; then it is the other's turn to multiply. Named barriers hand the turn over. Both take as many tiles of queries: where there
// is none left, queries that are all zeros, of which nothing is written.
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

// Tiles of queries that each warpgroup takes of a head.
__device__ __forceinline__ unsigned rounds_of(const Attention& p) { return (p.tokens + 2 * group_rows - 1) / (2 * group_rows); }

__device__ __forceinline__ void fetch_all(const Attention& p, Stages stages, const TensorMap& queries, const TensorMap& keys,
                                          unsigned heads) {
  unsigned turn = 0, tiles = 2 * rounds_of(p);
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

// A tile of queries: whose head it is, the how-manieth of the block, and which of the warpgroup's tiles there.
struct Step {
  unsigned task, turn, round;

  __device__ __forceinline__ unsigned row() const { return (2 * round + threadIdx.x / 128) * group_rows; }
};

// Weights of a tile's scores, and sums of a row's.
__device__ __forceinline__ void soften(Softened<blocks>& weights, float (&sum)[2], Scores<blocks>& s, const Attention& p) {
  if (p.tokens <= 16 * (blocks - 1)) mask(s, 0, p.tokens);
  mask(s, blocks - 1, p.tokens);
#pragma unroll
  for (int half = 0; half < 2; half++) sum[half] = quad_sum(soften(weights, s, half, p.scale, top_of(s, half, lowest)));
}

// Starts a tile's scores.
__device__ __forceinline__ void start(Scores<blocks>& s, Stages stages, const Step& step) {
  group_rows_product(s.at, stages.q(step.turn), step.row(), stages.k(step.turn), 0);
  group_commit();
}

__device__ __forceinline__ void attend_all(const Attention& p, Stages stages, unsigned heads) {
  const int own = 1 + threadIdx.x / 128, other = 3 - own;  // named barriers
  unsigned rounds = rounds_of(p);
  Step step = {blockIdx.x, 0, 0};
  if (step.task >= heads) return;
  Scores<blocks> s;
  if (own == 2) barrier_arrive(other, consumers);  // the first turn is the other's
  mbarrier_wait(stages.come, 0);
  barrier_sync(own, consumers);
  group_fence();
  start(s, stages, step);
  barrier_arrive(other, consumers);
  for (bool more = true; more;) {
    Softened<blocks> weights;
    Sums sums;
    float sum[2];
    group_wait<0>();
    group_settle(flat(s.at));
    soften(weights, sum, s, p);
    bool last = step.round + 1 == rounds;
    Step next = last ? Step{step.task + gridDim.x, step.turn + 1, 0} : Step{step.task, step.turn, step.round + 1};
    more = next.task < heads;
    if (more) mbarrier_wait(stages.come + next.turn % 2, next.turn / 2 % 2);
    barrier_sync(own, consumers);
    group_fence();
    group_features_product(sums, weights.at, stages.v(step.turn), 0, false);
    group_commit();
    if (more) start(s, stages, next);
    if (more || own == 1) barrier_arrive(other, consumers);
    if (more)
      group_wait<1>();
    else
      group_wait<0>();
    group_keep(weights.at);
    group_settle(flat(sums));
    if (last && threadIdx.x % 32 == 0) mbarrier_arrive(stages.left + step.turn % 2);
    put(p, {p.result + place_of(p, step.task).plain, plain_stride(p)}, step.row() + warp_row(), sums, 1.0f / sum[0], 1.0f / sum[1]);
    step = next;
  }
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
  attend_all(p, stages, b * h);
}
