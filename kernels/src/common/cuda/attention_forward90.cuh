// Kernels of attention's forward pass for sm_90a, heads of width HEAD_WIDTH in bf16; `forward_B` for at most 16 B tokens.
//   out = softmax(q k' scale) v per image and head, and the logarithm of the sum of each row's exponentials where it is kept.
//
// Mapping: a block stays on its multiprocessor and takes a head after the other. One thread fetches the next head's q, k and v by
// bulk copies while two warpgroups compute, 64 query rows at a time, whose scores against all keys are in registers: one pass, no
// online softmax; weights go from there to the product with v.
// Shared memory: two stages of a head.
// Bytes: q, k and v read once, out written once.
// Order of sums: that of the tensor cores over features, and over 16 keys; 16 keys after the other; each lane adds the
// exponentials of its columns, then 4 lanes.
// Tolerance: 2 steps of bf16 of the largest |v|: of the weights, and of the result.
#include "attention_hopper.cuh"
#include "attention_softmax.cuh"

template <int blocks>
struct Pipeline {
  static constexpr int keys = 16 * blocks, tiles = (keys + group_rows - 1) / group_rows;
  static constexpr int q_bytes = tiles * group_rows * row_bytes, k_bytes = keys * row_bytes, bytes = q_bytes + 2 * k_bytes;

  Bytes* memory;  // [2, bytes], then the barriers

  __device__ __forceinline__ Bytes* q(unsigned turn) const { return memory + turn % 2 * bytes; }
  __device__ __forceinline__ Bytes* k(unsigned turn) const { return q(turn) + q_bytes; }
  __device__ __forceinline__ Bytes* v(unsigned turn) const { return k(turn) + k_bytes; }
  __device__ __forceinline__ Mbarrier* full(unsigned turn) const { return (Mbarrier*)(memory + 2 * bytes) + turn % 2; }
  __device__ __forceinline__ Mbarrier* empty(unsigned turn) const { return full(turn) + 2; }

  __device__ __forceinline__ void init() const {
    if (threadIdx.x == 0) {
      for (int stage = 0; stage < 2; stage++) {
        mbarrier_init(full(stage), 1);
        mbarrier_init(empty(stage), consumer_warps);
      }
      fence_mbarrier_init();
    }
    __syncthreads();
  }
};

template <int blocks>
__device__ __forceinline__ void produce(const Attention& p, Pipeline<blocks> pipeline, const TensorMap& queries,
                                        const TensorMap& keys) {
  unsigned turn = 0, tiles = (p.tokens + group_rows - 1) / group_rows, heads = heads_of(p);
  for (unsigned task = blockIdx.x; task < heads; task += gridDim.x, turn++) {
    mbarrier_wait(pipeline.empty(turn), turn / 2 % 2 ^ 1);
    Mbarrier* full = pipeline.full(turn);
    mbarrier_arrive_expect(full, tiles * group_rows * row_bytes + 2 * pipeline.k_bytes);
    int head = task % p.heads, image = task / p.heads, all = p.heads;
    for (unsigned i = 0; i < tiles; i++)
      tensor_load(pipeline.q(turn) + i * group_rows * row_bytes, queries, full, 0, i * group_rows, head, image);
    tensor_load(pipeline.k(turn), keys, full, 0, 0, all + head, image);
    tensor_load(pipeline.v(turn), keys, full, 0, 0, 2 * all + head, image);
  }
}

// Weights of the warp's 16 rows; none where all rows are behind the last token.
template <int blocks, int fewer>
__device__ __forceinline__ void soften(Softened<blocks>& weights, Scores<blocks>& s, const Attention& p, bool busy,
                                       float (&top)[2], float (&sum)[2]) {
  if (!busy) {
#pragma unroll
    for (int e = 0; e < 4 * blocks; e++) weights.at[e / 4][e % 4] = 0;
    return;
  }
  mask(s, fewer, p.tokens);
  float scale = p.scale * log2_e;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    // Finite, so that a row of scores of -inf sums up to 0 and becomes NaN, as in the reference.
    top[half] = top_of(s, half, lowest);
    sum[half] = soften(weights, s, half, scale, top[half]);
  }
}

// For 16 `fewer` < tokens <= 16 `blocks`.
template <int blocks, int fewer>
__device__ __forceinline__ void consume(const Attention& p, Pipeline<blocks> pipeline) {
  unsigned turn = 0, heads = heads_of(p);
  for (unsigned task = blockIdx.x; task < heads; task += gridDim.x, turn++) {
    mbarrier_wait(pipeline.full(turn), turn / 2 % 2);
    Place place = place_of(p, task);
    for (unsigned tile = threadIdx.x / 128 * group_rows; tile < p.tokens; tile += 2 * group_rows) {
      Scores<blocks> s;
      group_fence();
      group_rows_product(s.at, pipeline.q(turn), tile, pipeline.k(turn), 0);
      group_commit();
      group_wait<0>();
      group_settle(flat(s.at));
      unsigned row = tile + warp_row();
      bool busy = row < p.tokens;
      Softened<blocks> weights;
      float top[2] = {}, sum[2] = {};
      soften<blocks, fewer>(weights, s, p, busy, top, sum);
      Sums out;
      group_fence();
      group_features_product(out, weights.at, pipeline.v(turn), 0, false);
      group_commit();
      sum[0] = quad_sum(sum[0]);
      sum[1] = quad_sum(sum[1]);
      group_wait<0>();
      group_keep(weights.at);
      group_settle(flat(out));
      if (busy) finish(p, place, row, out, top, sum);
    }
    if (threadIdx.x % 32 == 0) mbarrier_arrive(pipeline.empty(turn));
  }
}

template <int blocks, int fewer>
__device__ __forceinline__ void attend(const Attention& p, const TensorMap& queries, const TensorMap& keys, Bytes* memory) {
  Pipeline<blocks> pipeline = {memory};
  pipeline.init();
  if (threadIdx.x >= consumers) {
    fewer_registers<producer_registers>();
    if (threadIdx.x == consumers) produce(p, pipeline, queries, keys);
  } else {
    more_registers<consumer_registers>();
    consume<blocks, fewer>(p, pipeline);
  }
}

#define FORWARD(blocks, fewer) \
  extern "C" __global__ void __launch_bounds__(all_threads, 1) \
      forward_##blocks(const Attention p, const __grid_constant__ TensorMap queries, const __grid_constant__ TensorMap keys) { \
    extern __shared__ __align__(1024) Bytes memory[]; \
    attend<blocks, fewer>(p, queries, keys, memory); \
  }
FORWARD(10, 5)
FORWARD(13, 10)
FORWARD(16, 13)
#undef FORWARD
