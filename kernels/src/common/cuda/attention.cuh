// What attention's kernels share: where a block stands, and products of tiles in shared memory.
// Packed layout: qkv [images, tokens, 3, heads, width], out and its gradient [images, tokens, heads, width], log-sum-exps
// and the like [images, heads, tokens].
//
// A block of 128 threads owns 64 rows of a head and walks over the others 32 at a time. Of a tile of scores [64, 32], warp w
// has rows 16 w .. 16 w + 15; its lane 8 y + x has rows y + 4 i and columns x + 8 j, i and j from 0 to 3. Of an output tile
// [64, 64] it has the same rows and features 4 x .. 4 x + 3 and 32 more. So rows of weights are of one warp alone, and what
// is folded over a row is folded over 8 lanes.
// Heads that are wider than 64 go through shared memory 64 features at a time; a block makes 64 features of its result.
// Order of sums: over features, and over the rows that are walked over, in order, one fused multiply-add each.
#pragma once
#include "storage.cuh"

// As Params of kernels/src/attention/cuda.rs.
struct Attention {
  const real *qkv, *out, *d_out;
  real* result;  // out, or the gradient of qkv
  float *lse, *delta;
  unsigned long long rows;  // images x tokens x heads
  unsigned tokens, heads, width;
  unsigned blocks;  // of 64 rows, per head
  unsigned parts;   // of 64 features, per head
  unsigned quads;   // head widths are multiples of 4: vectors may be read and written
  unsigned add;
  float scale;  // 1 / sqrt(width)
};

constexpr int own_rows = 64, walked = 32, depth = 64, threads = 128;
// Rows of a tile begin 4 banks apart: eight of them, or four, are then read without conflicts.
constexpr int pitch = depth + 4;
typedef float Row[pitch];
// Rows of weights begin 8 banks apart, for four rows are written at eight neighbouring columns.
constexpr int weights_pitch = walked + 8;
typedef float Weights[weights_pitch];

constexpr float lowest = -3.4028234e38f;

// Rows of a head in memory.
struct Rows {
  const real* first;
  size_t stride;
};

// Where a block stands: its head, first row and first feature of the result.
struct Place {
  size_t task;           // image and head
  size_t packed, plain;  // where the head begins in qkv and in out
  unsigned row, feature;
};

// Blocks of one head are neighbours: they share its keys and values in the cache.
__device__ __forceinline__ Place place_of(const Attention& p, unsigned index = blockIdx.x) {
  unsigned block = index % p.blocks, rest = index / p.blocks;
  unsigned part = rest % p.parts, task = rest / p.parts;
  size_t first = (size_t)(task / p.heads) * p.tokens * p.heads * p.width, head = task % p.heads * (size_t)p.width;
  return {task, 3 * first + head, first + head, block * own_rows, part * depth};
}

enum Part { queries_part = 0, keys_part = 1, values_part = 2 };

__device__ __forceinline__ size_t packed_stride(const Attention& p) { return (size_t)3 * p.heads * p.width; }
__device__ __forceinline__ size_t plain_stride(const Attention& p) { return (size_t)p.heads * p.width; }

// Where the queries, keys or values of a head begin in qkv.
__device__ __forceinline__ size_t part_at(const Attention& p, const Place& place, Part part) {
  return place.packed + (size_t)part * p.heads * p.width;
}

__device__ __forceinline__ Rows packed_rows(const Attention& p, const Place& place, Part part) {
  return {p.qkv + part_at(p, place, part), packed_stride(p)};
}

// The first of a lane's rows in a tile, and of its columns; the others are 4 and 8 further on.
__device__ __forceinline__ unsigned own_row() { return threadIdx.x / 32 * 16 + threadIdx.x % 32 / 8; }
__device__ __forceinline__ unsigned own_column() { return threadIdx.x % 8; }

// Four features of a row, 0 beyond the last one.
__device__ __forceinline__ float4 fetch(const Attention& p, const real* row, unsigned feature) {
  float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (feature >= p.width) return v;
  if (p.quads) return load4(row, feature);
  v.x = load(row, feature);
  if (feature + 1 < p.width) v.y = load(row, feature + 1);
  if (feature + 2 < p.width) v.z = load(row, feature + 2);
  if (feature + 3 < p.width) v.w = load(row, feature + 3);
  return v;
}

// `count` rows of 64 features from (row, feature) on to a tile, 0 beyond the last token and the last feature.
template <int count>
__device__ __forceinline__ void fill(const Attention& p, Row* tile, Rows rows, unsigned row, unsigned feature) {
  unsigned column = threadIdx.x % 16 * 4;
#pragma unroll 4
  for (int i = 0; i < count / 8; i++) {
    unsigned r = threadIdx.x / 16 + 8 * i;
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (row + r < p.tokens) v = fetch(p, rows.first + (row + r) * rows.stride, feature + column);
    *(float4*)&tile[r][column] = v;
  }
}

// Adds scalar products of the lane's rows of a with rows x + 8 j, j < groups, of b.
template <int groups>
__device__ __forceinline__ void multiply(float (&sum)[4][4], const Row* a, const Row* b, unsigned features) {
  a += own_row();
  b += own_column();
#pragma unroll 1
  for (unsigned f = 0; f < features; f += 4) {
    float4 left[4], right[groups];
#pragma unroll
    for (int i = 0; i < 4; i++) left[i] = *(const float4*)&a[4 * i][f];
#pragma unroll
    for (int j = 0; j < groups; j++) right[j] = *(const float4*)&b[8 * j][f];
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < groups; j++) {
        sum[i][j] = fmaf(left[i].x, right[j].x, sum[i][j]);
        sum[i][j] = fmaf(left[i].y, right[j].y, sum[i][j]);
        sum[i][j] = fmaf(left[i].z, right[j].z, sum[i][j]);
        sum[i][j] = fmaf(left[i].w, right[j].w, sum[i][j]);
      }
  }
}

// The same of the first `count` rows of b. Images have a token more than patches, so the last tile is often almost empty.
__device__ __forceinline__ void multiply_first(unsigned count, float (&sum)[4][4], const Row* a, const Row* b,
                                               unsigned features) {
  if (count > 8)
    multiply<4>(sum, a, b, features);
  else
    multiply<1>(sum, a, b, features);
}

// The lane's part of an output tile: [half of the features][row i][feature].
typedef float Output[2][4][4];

__device__ __forceinline__ void clear(Output& sum) {
#pragma unroll
  for (int e = 0; e < 32; e++) sum[e / 16][e / 4 % 4][e % 4] = 0.0f;
}

__device__ __forceinline__ void add_scaled(float (&sum)[4], float by, float4 v) {
  sum[0] = fmaf(by, v.x, sum[0]);
  sum[1] = fmaf(by, v.y, sum[1]);
  sum[2] = fmaf(by, v.z, sum[2]);
  sum[3] = fmaf(by, v.w, sum[3]);
}

// Adds rows of the tile, each times its weight for the lane's rows. Rows up to the next multiple of 4 are read.
template <int halves>
__device__ __forceinline__ void weigh(Output& sum, const Weights* weights, const Row* tile, unsigned count) {
  unsigned row = own_row(), feature = 4 * own_column();
#pragma unroll 2
  for (unsigned c = 0; c < count; c += 4) {
    float4 weight[4];
#pragma unroll
    for (int i = 0; i < 4; i++) weight[i] = *(const float4*)&weights[row + 4 * i][c];
#pragma unroll
    for (int h = 0; h < halves; h++) {
      float4 v[4];
#pragma unroll
      for (int k = 0; k < 4; k++) v[k] = *(const float4*)&tile[c + k][32 * h + feature];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        add_scaled(sum[h][i], weight[i].x, v[0]);
        add_scaled(sum[h][i], weight[i].y, v[1]);
        add_scaled(sum[h][i], weight[i].z, v[2]);
        add_scaled(sum[h][i], weight[i].w, v[3]);
      }
    }
  }
}

// The same of one half where the second holds no feature.
__device__ __forceinline__ void weigh_features(unsigned features, Output& sum, const Weights* weights, const Row* tile,
                                               unsigned count) {
  if (features > 32)
    weigh<2>(sum, weights, tile, count);
  else
    weigh<1>(sum, weights, tile, count);
}

// Writes the lane's part of an output tile, or adds it.
__device__ __forceinline__ void finish(const Attention& p, const Place& place, real* first, size_t stride,
                                       const Output& sum) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    unsigned row = place.row + own_row() + 4 * i;
    if (row >= p.tokens) continue;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      unsigned feature = place.feature + 32 * h + 4 * own_column();
      real* to = first + row * stride;
      if (p.quads && feature < p.width) {
        float4 old = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        const float* v = sum[h][i];
        if (p.add) old = load4(to, feature);
        store4(to, feature, make_float4(old.x + v[0], old.y + v[1], old.z + v[2], old.w + v[3]));
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (feature + e < p.width) put(to, feature + e, sum[h][i][e], p.add);
      }
    }
  }
}

// Folded over the 8 lanes that share rows; in the same order in all of them.
__device__ __forceinline__ float row_sum(float x) {
  for (int step = 4; step > 0; step >>= 1) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// NaN is not the largest: it comes back through the exponentials.
__device__ __forceinline__ float row_top(float x) {
  for (int step = 4; step > 0; step >>= 1) {
    float other = __shfl_xor_sync(~0u, x, step);
    x = other > x ? other : x;
  }
  return x;
}
