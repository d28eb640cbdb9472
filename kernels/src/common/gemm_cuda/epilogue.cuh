// What kernels of tensor cores do with sums on their way to memory: bias, activation and its derivative, a factor, adding.
//
// Sums lie in shared memory in rows of `pitch` floats. Neighbouring threads take neighbouring columns: 16 bytes of C each
// where its rows allow that.
#pragma once
#include "bf16.cuh"
#include "math.cuh"
#include "product.cuh"

// Rows of a tile in shared memory: row r is row first + r / group * stride + r % group of C.
struct StagedRows {
  unsigned first, group, stride;
  __device__ __forceinline__ unsigned operator()(unsigned r) const { return first + r / group * stride + r % group; }
};

// Biases and activations of a tile, in place, and derivatives to memory.
template <int rows, int columns, int threads>
__device__ __forceinline__ void activate(const Product& p, float* tile, int pitch, StagedRows row_of, unsigned column0,
                                         unsigned thread) {
  if (p.n % 2 == 0) {
    // Two neighbours: 4 bytes of slopes.
#pragma unroll 1
    for (unsigned e = thread; e < rows * columns / 2; e += threads) {
      unsigned row = row_of(e / (columns / 2)), column = column0 + e % (columns / 2) * 2;
      if (row >= p.m || column >= p.n) continue;
      float2* x = (float2*)&tile[e / (columns / 2) * pitch + e % (columns / 2) * 2];
      float low = p.bias ? load(p.bias, column) : 0.0f, high = p.bias ? load(p.bias, column + 1) : 0.0f;
      Both first = activated((int)p.activation, x->x + low), second = activated((int)p.activation, x->y + high);
      if (p.c_slope) *(unsigned*)&p.c_slope[(size_t)row * p.n + column] = bf16_pair(first.slope, second.slope);
      *x = make_float2(first.value, second.value);
    }
    return;
  }
#pragma unroll 1
  for (unsigned e = thread; e < rows * columns; e += threads) {
    unsigned row = row_of(e / columns), column = column0 + e % columns;
    if (row >= p.m || column >= p.n) continue;
    float* x = &tile[e / columns * pitch + e % columns];
    Both y = activated((int)p.activation, *x + (p.bias ? load(p.bias, column) : 0.0f));
    if (p.c_slope) store(p.c_slope, (size_t)row * p.n + column, y.slope);
    *x = y.value;
  }
}

// One element: where C's rows are not whole 16 bytes, or C lies in an image.
__device__ __forceinline__ void finish_one(const Product& p, size_t batch, unsigned row, unsigned column, float x,
                                           bool bias) {
  if (p.sums) {
    p.sums[(batch * p.m + row) * p.n + column] = x;
    return;
  }
  size_t i = batch * p.c_batch + at(p, 3, row, column, p.n);
  if (bias) x += load(p.bias, column);
  if (p.times) x *= load(p.times, i);
  put(p.c, i, x, p.add);
}

// Eight neighbours of a row.
__device__ __forceinline__ void finish_eight(const Product& p, size_t batch, unsigned row, unsigned column, Eight x,
                                             bool bias) {
  if (p.sums) {
    float4* to = (float4*)(p.sums + (batch * p.m + row) * p.n + column);
    to[0] = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
    to[1] = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
    return;
  }
  size_t i = batch * p.c_batch + (size_t)row * p.n + column;
  if (bias) {
    Eight by = load8(p.bias, column);
#pragma unroll
    for (int e = 0; e < 8; e++) x.v[e] += by.v[e];
  }
  if (p.times) {
    Eight by = load8(p.times, i);
#pragma unroll
    for (int e = 0; e < 8; e++) x.v[e] *= by.v[e];
  }
  if (p.add) {
    Eight old = load8(p.c, i);
#pragma unroll
    for (int e = 0; e < 8; e++) x.v[e] += old.v[e];
  }
  store8(p.c, i, x);
}

// A tile [rows, columns] of sums to memory. `sync` is a barrier of the `threads` threads that take part; `batch` counts
// batches, or parts of k. The tile has been written, and the barrier passed.
template <int rows, int columns, int threads, typename Sync>
__device__ __forceinline__ void finish_tile(const Product& p, float* tile, int pitch, StagedRows row_of, unsigned column0,
                                            size_t batch, unsigned thread, const Sync& sync) {
  if (p.activation && !p.sums) {
    activate<rows, columns, threads>(p, tile, pitch, row_of, column0, thread);
    sync();
  }
  bool bias = p.bias && !p.activation;
  if (p.n % 8 == 0 && p.image != 3) {
#pragma unroll 1
    for (unsigned e = thread; e < rows * columns / 8; e += threads) {
      unsigned row = row_of(e / (columns / 8)), c = e % (columns / 8) * 8;
      if (row >= p.m || column0 + c >= p.n) continue;
      const float4* from = (const float4*)&tile[e / (columns / 8) * pitch + c];
      float4 low = from[0], high = from[1];
      finish_eight(p, batch, row, column0 + c, {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}}, bias);
    }
    return;
  }
#pragma unroll 1
  for (unsigned e = thread; e < rows * columns; e += threads) {
    unsigned row = row_of(e / columns), column = column0 + e % columns;
    if (row < p.m && column < p.n) finish_one(p, batch, row, column, tile[e / columns * pitch + e % columns], bias);
  }
}
