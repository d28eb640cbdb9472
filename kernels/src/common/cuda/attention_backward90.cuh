// Kernels of attention's backward pass for sm_90a, heads of width HEAD_WIDTH in bf16; `backward_B` for at most 16 B tokens.
//   p = exp(q k' scale - l), D = rowsum(do out), ds = p (do v' - D); dq = ds k scale, dk = ds' q scale, dv = p' do;
//   l are the logarithms that forward kept. Written or added; no atomics, nothing of size [n, n] in memory.
//
// Mapping: a block stays on its multiprocessor and takes a head after the other. Two warpgroups compute. Each has 64 keys at a time,
// with their dk and dv in registers, against 80 or 64 queries at a time: scores transposed, rows are keys, so that p' and ds' go from
// registers to their products. ds' goes to shared memory as well, whole; behind a barrier each warpgroup makes dq of 64 queries at a
// time from it.
// A third warpgroup fetches the next head: one thread by bulk copies (q, v and do while dq is made, k behind it), three warps l and
// D, a head ahead.
// Shared memory: q, k, v, do; ds' by 64 queries; l and D of two heads.
// Bytes: q, k, v, out read once, do twice (once from the cache); dq, dk, dv written once.
// Order of sums: that of the tensor cores over features, and over 16 keys or queries; 16 after the other.
// Tolerance: 2 steps of bf16 of the largest result: p and ds are rounded, and the result.
#include "attention_hopper.cuh"
#include "attention_softmax.cuh"

constexpr int panel_row = 128;  // bytes of 64 queries of ds'
typedef Tile<64> Panel;

template <int blocks>
struct Stage {
  static constexpr int rows = 16 * blocks, tile_bytes = rows * row_bytes;
  static constexpr int panels = (rows + group_rows - 1) / group_rows, panel_bytes = rows * panel_row;

  Bytes* memory;

  // v behind k and do behind v: a warpgroup's 64 keys may be more than there are rows, and what follows is read for them, and lost.
  __device__ __forceinline__ Bytes* q() const { return memory; }
  __device__ __forceinline__ Bytes* k() const { return memory + tile_bytes; }
  __device__ __forceinline__ Bytes* v() const { return memory + 2 * tile_bytes; }
  __device__ __forceinline__ Bytes* gradients() const { return memory + 3 * tile_bytes; }
  __device__ __forceinline__ Bytes* ds(int panel) const { return memory + 4 * tile_bytes + panel * panel_bytes; }
  __device__ __forceinline__ float* l(unsigned turn) const { return (float*)ds(panels) + turn % 2 * (2 * rows); }
  __device__ __forceinline__ float* mean(unsigned turn) const { return l(turn) + rows; }

  // Barriers: q, v and do have come, or are used; the same of k; of l and D, for each of two heads.
  __device__ __forceinline__ Mbarrier* barriers() const { return (Mbarrier*)((float*)ds(panels) + 4 * rows); }
  __device__ __forceinline__ Mbarrier* full() const { return barriers(); }
  __device__ __forceinline__ Mbarrier* empty() const { return barriers() + 1; }
  __device__ __forceinline__ Mbarrier* full_k() const { return barriers() + 2; }
  __device__ __forceinline__ Mbarrier* empty_k() const { return barriers() + 3; }
  __device__ __forceinline__ Mbarrier* full_rows(unsigned turn) const { return barriers() + 4 + turn % 2; }
  __device__ __forceinline__ Mbarrier* empty_rows(unsigned turn) const { return barriers() + 6 + turn % 2; }

  __device__ __forceinline__ void init() const {
    // Of the last panel queries beyond the rows are read too, and lost.
    for (unsigned i = threadIdx.x; i < panel_bytes / 16; i += all_threads) *(uint4*)(ds(panels - 1) + 16 * i) = make_uint4(0, 0, 0, 0);
    fence_async();
    if (threadIdx.x == 0) {
      mbarrier_init(full(), 1);
      mbarrier_init(full_k(), 1);
      mbarrier_init(empty(), consumer_warps);
      mbarrier_init(empty_k(), consumer_warps);
      for (int i = 0; i < 2; i++) {
        mbarrier_init(full_rows(i), 3);
        mbarrier_init(empty_rows(i), consumer_warps);
      }
      fence_mbarrier_init();
    }
    __syncthreads();
  }
};

template <int blocks>
__device__ __forceinline__ void fetch_heads(const Attention& p, Stage<blocks> stage, const TensorMap& qkv, const TensorMap& d_out) {
  unsigned turn = 0, heads = heads_of(p);
  for (unsigned task = blockIdx.x; task < heads; task += gridDim.x, turn++) {
    int head = task % p.heads, image = task / p.heads, all = p.heads;
    mbarrier_wait(stage.empty(), turn % 2 ^ 1);
    mbarrier_arrive_expect(stage.full(), 3 * stage.tile_bytes);
    tensor_load(stage.q(), qkv, stage.full(), 0, 0, head, image);
    tensor_load(stage.v(), qkv, stage.full(), 0, 0, 2 * all + head, image);
    tensor_load(stage.gradients(), d_out, stage.full(), 0, 0, head, image);
    mbarrier_wait(stage.empty_k(), turn % 2 ^ 1);
    mbarrier_arrive_expect(stage.full_k(), stage.tile_bytes);
    tensor_load(stage.k(), qkv, stage.full_k(), 0, 0, all + head, image);
  }
}

// l and D of each head's queries, by three warps: lanes share a row, 8 features each.
template <int blocks>
__device__ __forceinline__ void fetch_rows(const Attention& p, Stage<blocks> stage) {
  constexpr unsigned sharing = width / 8, at_once = 96 / sharing;
  unsigned turn = 0, heads = heads_of(p), thread = threadIdx.x - consumers - 32, part = thread % sharing;
  for (unsigned task = blockIdx.x; task < heads; task += gridDim.x, turn++) {
    Place place = place_of(p, task);
    mbarrier_wait(stage.empty_rows(turn), turn / 2 % 2 ^ 1);
    for (unsigned row = thread / sharing; row < stage.rows + at_once - 1 - (stage.rows - 1) % at_once; row += at_once) {
      float sum = 0.0f;
      if (row < p.tokens) {
        size_t at = place.plain + row * plain_stride(p) + 8 * part;
        Eight dy = load8(p.d_out, at), y = load8(p.out, at);
#pragma unroll
        for (int e = 0; e < 8; e++) sum = fmaf(dy.v[e], y.v[e], sum);
      }
#pragma unroll
      for (unsigned step = sharing / 2; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
      if (part > 0 || row >= stage.rows) continue;
      stage.l(turn)[row] = row < p.tokens ? p.lse[place.task * p.tokens + row] : 0.0f;
      stage.mean(turn)[row] = sum;
    }
    __syncwarp();
    if (thread % 32 == 0) mbarrier_arrive(stage.full_rows(turn));
  }
}

// dk and dv of 64 keys.
struct KeySums {
  Sums dk, dv;
};

// The share in them of 16 `count` queries from 16 `first` on; ds' to shared memory. The warp's keys are from `key` on.
template <int first, int count, int blocks>
__device__ __forceinline__ void add_queries(KeySums& sums, const Attention& p, Stage<blocks> stage, unsigned turn, unsigned tile) {
  Scores<count> s, t;
  unsigned key = tile + warp_row();
  const float *l = stage.l(turn) + 16 * first, *mean = stage.mean(turn) + 16 * first;
  group_fence();
  group_rows_product(s.at, stage.k(), tile, stage.q(), 16 * first);
  group_commit();
  group_rows_product(t.at, stage.v(), tile, stage.gradients(), 16 * first);
  group_commit();
  group_wait<1>();
  group_settle(flat(s.at));
  Softened<count> weights, products;
#pragma unroll
  for (int n = 0; n < count; n++) {
#pragma unroll
    for (int e = 0; e < 8; e++) {
      // Beyond the last key the score is 0, whose exponential less l may overflow.
      bool there = key + lane_row() + e / 2 % 2 * 8 < p.tokens;
      float& x = s.at[n][e / 4][e % 4];
      x = there ? weight_of(x, p.scale, l[16 * n + e / 4 * 8 + lane_column() + e % 2]) : 0.0f;
    }
    narrow(weights.at[n], s.at[n]);
  }
  group_wait<0>();
  group_settle(flat(t.at));
  group_fence();
  group_features_product(sums.dv, weights.at, stage.gradients(), 16 * first, true);
  group_commit();
#pragma unroll
  for (int n = 0; n < count; n++) {
#pragma unroll
    for (int e = 0; e < 8; e++) {
      bool there = key + lane_row() + e / 2 % 2 * 8 < p.tokens;
      float x = t.at[n][e / 4][e % 4] - mean[16 * n + e / 4 * 8 + lane_column() + e % 2];
      t.at[n][e / 4][e % 4] = there ? s.at[n][e / 4][e % 4] * x : 0.0f;
    }
    narrow(products.at[n], t.at[n]);
  }
  group_fence();
  group_features_product(sums.dk, products.at, stage.q(), 16 * first, true);
  group_commit();
#pragma unroll
  for (int n = 0; n < count; n++) {
    int query = first + n;  // in blocks of 16, 4 to a panel
    Panel panel = {(real*)stage.ds(query / 4)};
    unsigned lane = threadIdx.x % 32;
    if (key < stage.rows) store_matrix_x4(panel.at(key + lane % 16, query % 4 * 2 + lane / 16), products.at[n]);
  }
  group_wait<0>();
  group_keep(weights.at);
  group_keep(products.at);
  group_settle(flat(sums.dk));
  group_settle(flat(sums.dv));
}

// Of 160 and of 208 queries, as many at a time as registers are left for.
__device__ __forceinline__ void add_all(KeySums& sums, const Attention& p, Stage<10> stage, unsigned turn, unsigned tile) {
  add_queries<0, 5>(sums, p, stage, turn, tile);
  add_queries<5, 5>(sums, p, stage, turn, tile);
}
__device__ __forceinline__ void add_all(KeySums& sums, const Attention& p, Stage<13> stage, unsigned turn, unsigned tile) {
  add_queries<0, 5>(sums, p, stage, turn, tile);
  add_queries<5, 4>(sums, p, stage, turn, tile);
  add_queries<9, 4>(sums, p, stage, turn, tile);
}

// dq of 64 queries from ds' of all keys.
template <int blocks>
__device__ __forceinline__ void put_queries(const Attention& p, const Place& place, Stage<blocks> stage, unsigned tile) {
  Sums dq;
  group_fence();
#pragma unroll
  for (int k = 0; k < blocks; k++) {
    unsigned long long left = operand_of<panel_row>(stage.ds(tile / group_rows) + 16 * k * panel_row, 16, 8 * panel_row);
    group_multiply<true, true>(flat(dq), left, by_features(stage.k(), 16 * k), k > 0);
  }
  group_commit();
  group_wait<0>();
  group_settle(flat(dq));
  put(p, {p.result + part_at(p, place, queries_part), packed_stride(p)}, tile + warp_row(), dq, p.scale, p.scale);
}

template <int blocks>
__device__ __forceinline__ void compute(const Attention& p, Stage<blocks> stage) {
  unsigned turn = 0, heads = heads_of(p), start = threadIdx.x / 128 * group_rows;
  bool speaks = threadIdx.x % 32 == 0;
  size_t stride = packed_stride(p);
  for (unsigned task = blockIdx.x; task < heads; task += gridDim.x, turn++) {
    Place place = place_of(p, task);
    mbarrier_wait(stage.full_rows(turn), turn / 2 % 2);
    mbarrier_wait(stage.full(), turn % 2);
    mbarrier_wait(stage.full_k(), turn % 2);
    for (unsigned tile = start; tile < stage.rows; tile += 2 * group_rows) {
      KeySums sums;
      clear(sums.dk);
      clear(sums.dv);
      add_all(sums, p, stage, turn, tile);
      put(p, {p.result + part_at(p, place, keys_part), stride}, tile + warp_row(), sums.dk, p.scale, p.scale);
      put(p, {p.result + part_at(p, place, values_part), stride}, tile + warp_row(), sums.dv, 1.0f, 1.0f);
    }
    fence_async();
    barrier_sync(1, consumers);
    if (speaks) {
      mbarrier_arrive(stage.empty());
      mbarrier_arrive(stage.empty_rows(turn));
    }
    for (unsigned tile = start; tile < p.tokens; tile += 2 * group_rows) put_queries(p, place, stage, tile);
    if (speaks) mbarrier_arrive(stage.empty_k());
  }
}

template <int blocks>
__device__ __forceinline__ void run(const Attention& p, const TensorMap& qkv, const TensorMap& d_out, Bytes* memory) {
  Stage<blocks> stage = {memory};
  stage.init();
  if (threadIdx.x >= consumers) {
    fewer_registers<producer_registers>();
    if (threadIdx.x == consumers)
      fetch_heads(p, stage, qkv, d_out);
    else if (threadIdx.x >= consumers + 32)
      fetch_rows(p, stage);
  } else {
    more_registers<consumer_registers>();
    compute(p, stage);
  }
}

#define BACKWARD(blocks) \
  extern "C" __global__ void __launch_bounds__(all_threads, 1) \
      backward_##blocks(const Attention p, const __grid_constant__ TensorMap qkv, const __grid_constant__ TensorMap d_out) { \
    extern __shared__ __align__(1024) Bytes memory[]; \
    run<blocks>(p, qkv, d_out, memory); \
  }
BACKWARD(10)
BACKWARD(13)
#undef BACKWARD
