// The gradient of attention from the log-sum-exps l that forward kept; written or added. Per image and head:
// p = exp(q k' scale - l), D = rowsum(do out), ds = p (do v' - D) scale; dq = ds k, dk = ds' q, dv = p' do.
// Any number of tokens, any head width; no atomics.
//
// Mapping: `deltas`: D, a warp per row. `queries`: a block of 128 threads owns 64 query rows of a head and 64 of their
// features, and walks over 32 keys at a time; `keys`: 64 rows of keys and values, over queries: attention.cuh.
// Shared memory: 61 KiB, tiles in one array: a and b [64] of the block's own rows, c and d [32] of those that it walks over,
// and weights. Bytes: `deltas`: do and out read once. `queries`: q and do read once (wide heads: once per 32 keys), k and v
// once per 64 query rows, dq written once. `keys`: the same the other way round.
// Order of sums: attention.cuh.
// Tolerance: 4 ulp of the largest |do| |v| |k| scale times the square root of the rows, and 16 ulp of the largest score.
#include "attention.cuh"
#include "reduce.cuh"

extern "C" __global__ void deltas(const Attention p) {
  size_t row = thread_index() / 32;  // of out: image, token, head
  if (row >= p.rows) return;         // the whole warp
  unsigned lane = threadIdx.x % 32;
  float sum = 0.0f;
  for (unsigned f = lane; f < p.width; f += 32) {
    size_t i = row * p.width + f;
    sum = fmaf(load(p.d_out, i), load(p.out, i), sum);
  }
  sum = warp_sum(sum);
  size_t head = row % p.heads, token = row / p.heads % p.tokens, image = row / p.heads / p.tokens;
  if (lane == 0) p.delta[(image * p.heads + head) * p.tokens + token] = sum;
}

// Tiles in shared memory, whose size kernels/src/attention/cuda.rs knows.
struct Tiles {
  Row *a, *b, *c, *d;
  Weights* weights;
};

__device__ __forceinline__ Tiles tiles_in(float* shared) {
  Row* row = (Row*)shared;
  return {row, row + own_rows, row + 2 * own_rows, row + 2 * own_rows + walked,
          (Weights*)(shared + 2 * (own_rows + walked) * pitch)};
}

// The same rows of two matrices.
struct Two {
  Rows first, second;
};

// s = a c' and t = b d' of the block's own rows and of those from `row` on. Leaves in c and d the features of its result.
__device__ __forceinline__ void scores(const Attention& p, const Place& place, bool busy, const Tiles& tiles, Two own,
                                       Two other, unsigned row, float (&s)[4][4], float (&t)[4][4]) {
  bool wide = p.width > depth;
  unsigned count = min(p.tokens - row, walked);
#pragma unroll
  for (int e = 0; e < 16; e++) s[e / 4][e % 4] = t[e / 4][e % 4] = 0.0f;
  for (unsigned f = 0; f < p.width; f += depth) {
    __syncthreads();  // earlier tiles may still be read
    if (wide || row == 0) {
      fill<own_rows>(p, tiles.a, own.first, place.row, f);
      fill<own_rows>(p, tiles.b, own.second, place.row, f);
    }
    fill<walked>(p, tiles.c, other.first, row, f);
    fill<walked>(p, tiles.d, other.second, row, f);
    __syncthreads();
    if (busy) {
      unsigned features = min(p.width - f, depth);
      multiply_first(count, s, tiles.a, tiles.c, features);
      multiply_first(count, t, tiles.b, tiles.d, features);
    }
  }
  if (!wide) return;
  __syncthreads();
  fill<walked>(p, tiles.c, other.first, row, place.feature);
  fill<walked>(p, tiles.d, other.second, row, place.feature);
  __syncthreads();
}

// Gives the lane's weights to its warp, once the warp has used the last ones.
__device__ __forceinline__ void share(Weights* weights, const float (&values)[4][4]) {
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) weights[own_row() + 4 * i][own_column() + 8 * j] = values[i][j];
  __syncwarp();
}

extern "C" __global__ void __launch_bounds__(threads, 3) queries(const Attention p) {
  extern __shared__ __align__(16) float shared[];
  Tiles tiles = tiles_in(shared);
  Place place = place_of(p);
  Rows gradients = {p.d_out + place.plain, plain_stride(p)};
  Two own = {packed_rows(p, place, queries_part), gradients};
  Two other = {packed_rows(p, place, keys_part), packed_rows(p, place, values_part)};
  bool busy = place.row + threadIdx.x / 32 * 16 < p.tokens;
  float l[4], mean[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    size_t at = place.task * p.tokens + min(place.row + own_row() + 4 * i, p.tokens - 1);
    l[i] = p.lse[at];
    mean[i] = p.delta[at];
  }
  Output dq;
  clear(dq);
  for (unsigned key = 0; key < p.tokens; key += walked) {
    float s[4][4], t[4][4];
    scores(p, place, busy, tiles, own, other, key, s, t);
    if (!busy) continue;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        // Beyond the last key the score is 0, whose exponential less l may overflow.
        bool there = key + own_column() + 8 * j < p.tokens;
        s[i][j] = there ? expf(s[i][j] * p.scale - l[i]) * (t[i][j] - mean[i]) * p.scale : 0.0f;
      }
    share(tiles.weights, s);
    weigh_features(p.width - place.feature, dq, tiles.weights, tiles.c, min(p.tokens - key, walked));
  }
  if (busy) finish(p, place, p.result + part_at(p, place, queries_part), packed_stride(p), dq);
}

extern "C" __global__ void __launch_bounds__(threads, 3) keys(const Attention p) {
  extern __shared__ __align__(16) float shared[];
  Tiles tiles = tiles_in(shared);
  Place place = place_of(p);
  Rows gradients = {p.d_out + place.plain, plain_stride(p)};
  Two own = {packed_rows(p, place, keys_part), packed_rows(p, place, values_part)};
  Two other = {packed_rows(p, place, queries_part), gradients};
  bool busy = place.row + threadIdx.x / 32 * 16 < p.tokens;
  Output dk, dv;
  clear(dk);
  clear(dv);
  for (unsigned query = 0; query < p.tokens; query += walked) {
    float s[4][4], t[4][4];
    scores(p, place, busy, tiles, own, other, query, s, t);
    if (!busy) continue;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      unsigned row = query + own_column() + 8 * j;
      size_t at = place.task * p.tokens + min(row, p.tokens - 1);
      float l = p.lse[at], mean = p.delta[at];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        s[i][j] = row < p.tokens ? expf(s[i][j] * p.scale - l) : 0.0f;
        t[i][j] = row < p.tokens ? s[i][j] * (t[i][j] - mean) * p.scale : 0.0f;
      }
    }
    unsigned features = p.width - place.feature, count = min(p.tokens - query, walked);
    share(tiles.weights, s);
    weigh_features(features, dv, tiles.weights, tiles.d, count);
    share(tiles.weights, t);
    weigh_features(features, dk, tiles.weights, tiles.c, count);
  }
  if (!busy) return;
  finish(p, place, p.result + part_at(p, place, keys_part), packed_stride(p), dk);
  finish(p, place, p.result + part_at(p, place, values_part), packed_stride(p), dv);
}
