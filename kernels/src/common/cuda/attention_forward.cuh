// Kernels of attention's forward pass on tensor cores, for heads of width HEAD_WIDTH in bf16; `forward_B` for at most 16 B tokens,
// `forward_long` for any number.
//   out = softmax(q k' scale) v per image and head, and the logarithm of the sum of each row's exponentials where it is kept.
//
// Mapping of `forward_B`: a block of 4 warps has all keys and values of a head in shared memory, and its warps take 16 query rows
// at a time, whose scores against all keys are in registers: one pass, no online softmax. Several blocks share a head where there
// are few heads: attention.cuh's Place, of which warp w of block i has rows 64 i + 16 w and every 64 x blocks further on.
// Mapping of `forward_long`: a block has 64 query rows, 16 a warp, and walks over 64 keys at a time, the next ones on their way;
// softmax online.
// Bytes: `forward_B`: q, k and v read once, out written once (k and v once per block of a head). `forward_long`: k and v once per 64
// query rows.
// Order of sums: that of the tensor cores over features, and over 16 keys; 16 keys after the other; each lane adds the
// exponentials of its columns, then 4 lanes.
// Tolerance: 2 steps of bf16 of the largest |v|: of the weights, and of the result.
#include "attention_softmax.cuh"

template <int blocks>
__device__ __forceinline__ void multiply(Scores<blocks>& s, const Operand& q, Features keys) {
#pragma unroll
  for (int n = 0; n < blocks; n++) multiply_rows(s.at[n], q, keys, 16 * n);
}

template <int blocks>
__device__ __forceinline__ void weigh(Sums& out, const Softened<blocks>& weights, Features values) {
#pragma unroll
  for (int n = 0; n < blocks; n++) add_rows(out, weights.at[n], values, 16 * n);
}

// For 16 `fewer` < tokens <= 16 `blocks`.
template <int blocks, int fewer>
__device__ __forceinline__ void attend(const Attention& p, real* shared) {
  Features keys = {shared}, values = {shared + 16 * blocks * width};
  Place place = place_of(p);
  Rows k = packed_rows(p, place, keys_part), v = packed_rows(p, place, values_part);
  copy_rows(keys, k.first, k.stride, 16 * blocks, p.tokens);
  copy_async_commit();
  copy_rows(values, v.first, v.stride, 16 * blocks, p.tokens);
  copy_async_commit();
  unsigned row = place.row + 16 * warp_index();
  bool late = true;  // the values may not have come
  // The block's first warp has the most rows, so all go round as often.
  for (unsigned first = place.row; first < p.tokens; first += own_rows * p.blocks, row += own_rows * p.blocks) {
    bool busy = row < p.tokens;
    Operand q;
    if (late) {
      copy_async_wait<1>();
      __syncthreads();
    }
    if (busy) fetch(q, p, packed_rows(p, place, queries_part), row);
    float top[2], sum[2];
    Softened<blocks> weights;
    if (busy) {
      Scores<blocks> s;
      multiply(s, q, keys);
      mask(s, fewer, p.tokens);
      float scale = p.scale * log2_e;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        // Finite, so that a row of scores of -inf sums up to 0 and becomes NaN, as in the reference.
        top[half] = top_of(s, half, lowest);
        sum[half] = quad_sum(soften(weights, s, half, scale, top[half]));
      }
    }
    if (late) {
      copy_async_wait<0>();
      __syncthreads();
      late = false;
    }
    if (!busy) continue;
    Sums out;
    clear(out);
    weigh(out, weights, values);
    finish(p, place, row, out, top, sum);
  }
}

// Blocks that a multiprocessor is to hold by its registers: as many as do not spill.
constexpr int few = width > 64 ? 3 : 4, some = width > 64 ? 2 : 3;

extern "C" __global__ void __launch_bounds__(threads, few) forward_4(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  attend<4, 0>(p, shared);
}
extern "C" __global__ void __launch_bounds__(threads, few) forward_5(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  attend<5, 4>(p, shared);
}
extern "C" __global__ void __launch_bounds__(threads, some) forward_10(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  attend<10, 5>(p, shared);
}
extern "C" __global__ void __launch_bounds__(threads, some) forward_13(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  attend<13, 10>(p, shared);
}
extern "C" __global__ void __launch_bounds__(threads, 2) forward_17(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  attend<17, 13>(p, shared);
}

constexpr int walked_blocks = 4, walked_keys = 16 * walked_blocks;

extern "C" __global__ void __launch_bounds__(threads, some) forward_long(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  Place place = place_of(p);
  Rows k = packed_rows(p, place, keys_part), v = packed_rows(p, place, values_part);
  auto tile = [=](unsigned stage) { return Features{shared + stage * walked_keys * width}; };
  auto start = [=](unsigned key) {
    unsigned stage = key / walked_keys % 2 * 2, there = min(p.tokens - key, walked_keys);
    copy_rows(tile(stage), k.first + key * k.stride, k.stride, walked_keys, there);
    copy_rows(tile(stage + 1), v.first + key * v.stride, v.stride, walked_keys, there);
  };
  start(0);
  copy_async_commit();
  unsigned row = place.row + 16 * warp_index();
  bool busy = row < p.tokens;
  float scale = p.scale * log2_e;
  // Finite, as in attend.
  float top[2] = {lowest, lowest}, sum[2] = {};
  Operand q;
  Sums out;
  clear(out);
  if (busy) fetch(q, p, packed_rows(p, place, queries_part), row);
  for (unsigned key = 0; key < p.tokens; key += walked_keys) {
    if (key + walked_keys < p.tokens) start(key + walked_keys);
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    unsigned stage = key / walked_keys % 2 * 2;
    if (busy) {
      Scores<walked_blocks> s;
      Softened<walked_blocks> weights;
      multiply(s, q, tile(stage));
      if (key + walked_keys > p.tokens) mask(s, 0, p.tokens - key);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float next = top_of(s, half, top[half]), shrink = exp2_approx((top[half] - next) * scale);
        top[half] = next;
        sum[half] = fmaf(sum[half], shrink, soften(weights, s, half, scale, next));
#pragma unroll
        for (int e = 0; e < 4 * steps; e++) out[e / 4][e / 2 % 2][2 * half + e % 2] *= shrink;
      }
      weigh(out, weights, tile(stage + 1));
    }
    __syncthreads();  // before the tiles are written again
  }
  copy_async_wait_all();
  if (!busy) return;
  sum[0] = quad_sum(sum[0]);
  sum[1] = quad_sum(sum[1]);
  finish(p, place, row, out, top, sum);
}
