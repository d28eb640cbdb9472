// Kernels of attention's backward pass on tensor cores, for heads of width HEAD_WIDTH in bf16; `backward_B` for at most 16 B tokens,
// `queries_long` and then `keys_long` for any number.
//   p = exp(q k' scale - l), D = rowsum(do out), ds = p (do v' - D); dq = ds k scale, dk = ds' q scale, dv = p' do;
//   l are the logarithms that forward kept. Written or added; no atomics, nothing of size [n, n] in memory.
//
// Mapping of `backward_B`: a block has a head: q, k, v and do in shared memory. A warp owns 16 keys and their
// dk and dv, and walks over the queries, 16 at a time, with scores transposed: rows are keys. The products of ds with k, which sum
// over the keys of all warps, follow behind a barrier for 32 queries at a time, whose ds are in shared memory; there are two of
// these, so that warps without a share in the product go on. Shares go round the warps in turn.
// Mapping of `queries_long`: a block has 64 queries, 16 a warp, and walks over 64 keys at a time; D of its queries, and dq.
// Mapping of `keys_long`: a block has 64 keys, 16 a warp, and walks over 64 queries at a time; dk and dv.
// Bytes: `backward_B`: q, k, v, out read once, do twice (once from the cache); dq, dk, dv written once. `queries_long` and `keys_long`:
// their own 64 rows once, k and v (q and do) once per 64 rows.
// Order of sums: that of the tensor cores over features, and over 16 keys or queries; 16 after the other.
// Tolerance: 2 steps of bf16 of the largest result: p and ds are rounded, and the result.
#include "attention_tensor.cuh"

// D of the lane's rows g and g + 8.
__device__ __forceinline__ void means(float (&mean)[2], const Operand& gradients, const Operand& out) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float sum = 0.0f;
#pragma unroll
    for (int e = 0; e < 2 * steps; e++) {
      unsigned a = gradients[e / 2][e % 2 * 2 + half], b = out[e / 2][e % 2 * 2 + half];
      sum = fmaf(__uint_as_float(a << 16), __uint_as_float(b << 16), sum);
      sum = fmaf(__uint_as_float(a & 0xffff0000), __uint_as_float(b & 0xffff0000), sum);
    }
    mean[half] = quad_sum(sum);
  }
}

// Queries in shared memory, with l and D of each. Beyond the last token all are zeros.
struct Queries {
  Features q, gradients;
  const float *l, *mean;
};

// 16 keys of a warp, and their values: Operand or Placed.
template <class Left>
struct Keys {
  Left k, v;
};

struct KeySums {
  Sums dk, dv;
};

// The share of queries `row` to `row` + 15 in dk and dv of keys `key` to `key` + 15; leaves ds, [keys, queries].
template <class Left>
__device__ __forceinline__ void add_queries(KeySums& sums, unsigned (&ds)[4], const Attention& p, const Keys<Left>& keys,
                                            unsigned key, const Queries& queries, unsigned row) {
  float s[2][4], t[2][4];
  multiply_rows(s, keys.k, queries.q, row);
  multiply_rows(t, keys.v, queries.gradients, row);
#pragma unroll
  for (int j = 0; j < 2; j++) {
    unsigned column = row + 8 * j + lane_column();
#pragma unroll
    for (int e = 0; e < 4; e++) {
      // Beyond the last key the score is 0, whose exponential less l may overflow.
      bool there = key + lane_row() + e / 2 * 8 < p.tokens;
      s[j][e] = there ? weight_of(s[j][e], p.scale, queries.l[column + e % 2]) : 0.0f;
      t[j][e] = there ? s[j][e] * (t[j][e] - queries.mean[column + e % 2]) : 0.0f;
    }
  }
  unsigned weights[4];
  narrow(weights, s);
  add_rows(sums.dv, weights, queries.gradients, row);
  narrow(ds, t);
  add_rows(sums.dk, ds, queries.q, row);
}

__device__ __forceinline__ void put(const Attention& p, const Place& place, unsigned key, const KeySums& sums) {
  size_t stride = packed_stride(p);
  put(p, {p.result + part_at(p, place, keys_part), stride}, key, sums.dk, p.scale, p.scale);
  put(p, {p.result + part_at(p, place, values_part), stride}, key, sums.dv, 1.0f, 1.0f);
}

// ---- A block per head ----
constexpr int chunk = 32;  // queries between barriers

// For at most 16 `blocks` tokens; a warp owns 16.
template <int blocks>
struct Head {
  static constexpr int rows = 16 * blocks, warps = blocks;
  // A warp's share in a product of ds with k: 16 queries, and so many features.
  static constexpr int share = width % 32 == 0 ? 2 : 1, shares = chunk / 16 * (steps / share);

  Features q, k, v, gradients;
  real* ds;  // [2, rows, chunk]
  float *l, *mean;

  __device__ __forceinline__ explicit Head(real* shared)
      : q{shared}, k{shared + rows * width}, v{shared + 2 * rows * width}, gradients{shared + 3 * rows * width},
        ds(shared + 4 * rows * width), l((float*)(ds + 2 * rows * chunk)), mean(l + rows) {}

  __device__ __forceinline__ Tile<chunk> ds_of(unsigned query) const { return {ds + query / chunk % 2 * (rows * chunk)}; }

  // Everything to shared memory; all but the first queries are still on their way.
  __device__ __forceinline__ void load(const Attention& p, const Place& place) const {
    Rows keys = packed_rows(p, place, keys_part), values = packed_rows(p, place, values_part);
    Rows queries = packed_rows(p, place, queries_part), dy = plain_rows(p, place, p.d_out), y = plain_rows(p, place, p.out);
    copy_rows(k, keys.first, keys.stride, rows, p.tokens);
    copy_rows(v, values.first, values.stride, rows, p.tokens);
    unsigned there = min(p.tokens, chunk), more = p.tokens - there;
    copy_rows(q, queries.first, queries.stride, chunk, there);
    copy_rows(gradients, dy.first, dy.stride, chunk, there);
    copy_async_commit();
    Features later = {q.first + chunk * width}, later_gradients = {gradients.first + chunk * width};
    copy_rows(later, queries.first + there * queries.stride, queries.stride, rows - chunk, more);
    copy_rows(later_gradients, dy.first + there * dy.stride, dy.stride, rows - chunk, more);
    copy_async_commit();
    for (unsigned row = 16 * warp_index(); row < rows; row += 16 * warps) {
      Operand one, other;
      float sum[2];
      fetch(one, p, dy, row);
      fetch(other, p, y, row);
      means(sum, one, other);
      if (lane_column() > 0) continue;
      for (int half = 0; half < 2; half++) {
        unsigned r = row + lane_row() + 8 * half;
        l[r] = r < p.tokens ? p.lse[place.task * p.tokens + r] : 0.0f;
        mean[r] = sum[half];
      }
    }
    copy_async_wait<1>();
    __syncthreads();
  }

  // The warp's shares in dq of `chunk` queries.
  __device__ __forceinline__ void put_queries(const Attention& p, const Place& place, unsigned query) const {
    Tile<chunk> left = ds_of(query);
    Rows to = {p.result + part_at(p, place, queries_part), packed_stride(p)};
    unsigned turn = (warp_index() + query / chunk * (warps - shares % warps)) % warps;
    for (unsigned i = turn; i < shares; i += warps) {
      unsigned part = i / (steps / share), step = i % (steps / share) * share;
      if (query + 16 * part >= p.tokens) continue;
      float sum[share][2][4] = {};
#pragma unroll 2
      for (int n = 0; n < blocks; n++) {
        unsigned a[4], b[4];
        columns_left(a, left, 16 * n, 2 * part);
#pragma unroll
        for (int f = 0; f < share; f++) {
          columns_right(b, k, 16 * n, 2 * (step + f));
          multiply_two(sum[f], a, b);
        }
      }
#pragma unroll
      for (int f = 0; f < share; f++) put_square(p, to, query + 16 * part, 16 * (step + f), sum[f], p.scale, p.scale);
    }
  }

  __device__ __forceinline__ void run(const Attention& p) const {
    Place place = place_of(p);
    load(p, place);
    Queries queries = {q, gradients, l, mean};
    unsigned key = 16 * warp_index();
    Keys<Placed> keys = {{k, key}, {v, key}};
    KeySums sums;
    clear(sums.dk);
    clear(sums.dv);
    for (unsigned query = 0; query < p.tokens; query += chunk) {
      if (query == chunk) {
        copy_async_wait<0>();
        __syncthreads();
      }
      Tile<chunk> to = ds_of(query);
#pragma unroll 1
      for (unsigned part = 0; part < chunk / 16 && query + 16 * part < p.tokens; part++) {
        unsigned products[4];
        add_queries(sums, products, p, keys, key, queries, query + 16 * part);
#pragma unroll
        for (int e = 0; e < 4; e++)
          *(unsigned*)(to.at(key + lane_row() + e % 2 * 8, 2 * part + e / 2) + lane_column()) = products[e];
      }
      __syncthreads();
      put_queries(p, place, query);
    }
    copy_async_wait_all();
    put(p, place, key, sums);
  }
};

extern "C" __global__ void __launch_bounds__(4 * 32, 3) backward_4(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  Head<4>(shared).run(p);
}
extern "C" __global__ void __launch_bounds__(5 * 32, width > 80 ? 1 : 2) backward_5(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  Head<5>(shared).run(p);
}
// Wider heads of more tokens fit neither into registers nor into the shared memory of sm_80: kernels/src/attention/tensor.rs.
#if HEAD_WIDTH <= 80
extern "C" __global__ void __launch_bounds__(10 * 32, 1) backward_10(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  Head<10>(shared).run(p);
}
#endif
#if HEAD_WIDTH <= 64
extern "C" __global__ void __launch_bounds__(13 * 32, 1) backward_13(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  Head<13>(shared).run(p);
}
#endif

// ---- Any number of tokens ----
constexpr int walked_rows = 64;

// Two pairs of tiles of 64 rows in turn; copies to one are under way while the other is read.
struct Turns {
  const Attention& p;
  Rows one, other;
  real* shared;

  __device__ __forceinline__ Features tile(unsigned row, int which) const {
    return {shared + (row / walked_rows % 2 * 2 + which) * (walked_rows * width)};
  }
  __device__ __forceinline__ void start(unsigned row) const {
    if (row < p.tokens) {
      unsigned there = min(p.tokens - row, walked_rows);
      copy_rows(tile(row, 0), one.first + row * one.stride, one.stride, walked_rows, there);
      copy_rows(tile(row, 1), other.first + row * other.stride, other.stride, walked_rows, there);
    }
    copy_async_commit();
  }
};

extern "C" __global__ void __launch_bounds__(threads, 2) queries_long(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  Place place = place_of(p);
  Turns turns = {p, packed_rows(p, place, keys_part), packed_rows(p, place, values_part), shared};
  turns.start(0);
  unsigned row = place.row + 16 * warp_index();
  bool busy = row < p.tokens;
  float mean[2], l[2];
  Operand q, gradients;
  Sums dq;
  clear(dq);
  if (busy) {
    fetch(gradients, p, plain_rows(p, place, p.d_out), row);
    fetch(q, p, plain_rows(p, place, p.out), row);
    means(mean, gradients, q);
    fetch(q, p, packed_rows(p, place, queries_part), row);
    for (int half = 0; half < 2; half++) {
      unsigned r = row + lane_row() + 8 * half;
      size_t at = place.task * p.tokens + min(r, p.tokens - 1);
      l[half] = p.lse[at];
      if (r < p.tokens && lane_column() == 0) p.delta[at] = mean[half];
    }
  }
  for (unsigned key = 0; key < p.tokens; key += walked_rows) {
    turns.start(key + walked_rows);
    copy_async_wait<1>();
    __syncthreads();
    Features keys = turns.tile(key, 0), values = turns.tile(key, 1);
    unsigned count = min(p.tokens - key, walked_rows);
    if (busy) {
#pragma unroll 2
      for (unsigned n = 0; n < count; n += 16) {
        float s[2][4], t[2][4];
        multiply_rows(s, q, keys, n);
        multiply_rows(t, gradients, values, n);
#pragma unroll
        for (int e = 0; e < 8; e++) {
          // Beyond the last key the score is 0, whose exponential less l may overflow.
          bool there = n + e / 4 * 8 + lane_column() + e % 2 < count;
          float weight = weight_of(s[e / 4][e % 4], p.scale, l[e / 2 % 2]);
          t[e / 4][e % 4] = there ? weight * (t[e / 4][e % 4] - mean[e / 2 % 2]) : 0.0f;
        }
        unsigned ds[4];
        narrow(ds, t);
        add_rows(dq, ds, keys, n);
      }
    }
    __syncthreads();  // before the tiles are written again
  }
  copy_async_wait_all();
  if (busy) put(p, {p.result + part_at(p, place, queries_part), packed_stride(p)}, row, dq, p.scale, p.scale);
}

extern "C" __global__ void __launch_bounds__(threads, 2) keys_long(const Attention p) {
  extern __shared__ __align__(128) real shared[];
  Place place = place_of(p);
  Turns turns = {p, packed_rows(p, place, queries_part), plain_rows(p, place, p.d_out), shared};
  float* of_queries = (float*)(shared + 4 * walked_rows * width);  // [2, 2, 64]: l and D, of each tile in turn
  turns.start(0);
  unsigned key = place.row + 16 * warp_index();
  bool busy = key < p.tokens;
  KeySums sums;
  clear(sums.dk);
  clear(sums.dv);
  Keys<Operand> keys;
  if (busy) {
    fetch(keys.k, p, packed_rows(p, place, keys_part), key);
    fetch(keys.v, p, packed_rows(p, place, values_part), key);
  }
  for (unsigned query = 0; query < p.tokens; query += walked_rows) {
    turns.start(query + walked_rows);
    unsigned count = min(p.tokens - query, walked_rows), stage = query / walked_rows % 2;
    unsigned which = threadIdx.x / walked_rows, r = threadIdx.x % walked_rows;
    const float* from = (which ? p.delta : p.lse) + place.task * p.tokens + query;
    float* turn = of_queries + stage * 2 * walked_rows;
    turn[threadIdx.x] = r < count ? from[r] : 0.0f;
    copy_async_wait<1>();
    __syncthreads();
    Queries queries = {turns.tile(query, 0), turns.tile(query, 1), turn, turn + walked_rows};
    if (busy) {
#pragma unroll 1
      for (unsigned n = 0; n < count; n += 16) {
        unsigned ds[4];
        add_queries(sums, ds, p, keys, key, queries, n);
      }
    }
    __syncthreads();  // before the tiles are written again
  }
  copy_async_wait_all();
  if (busy) put(p, place, key, sums);
}
