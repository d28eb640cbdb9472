// C = act(A B + bias) times a factor, with A, B or C in an image as its patches.
//
// Mapping: a block of 256 threads makes a tile of C, 64 or 128 on a side: thread (y, x) of 16 x 16 has rows 4 y .. 4 y + 3
// and columns 4 x .. 4 x + 3 of it, and the same 64 further on in a tile of 128. Steps of 8 along k pass through shared
// memory, the next one being fetched to registers meanwhile; so does C on its way out. blockIdx.x counts tiles row by row, blockIdx.y batches, or
// parts of k, whose sums go to `sums` and are added in order by `total` of sums.cu.
// Bytes per tile and step: 2 x 8 x side reals read. Order of a sum: along k, by fused multiplication and addition.
#include "math.cuh"
#include "product.cuh"

// Element (row, k) of A, zero outside.
template <bool across>
__device__ float fetch_a(const Product& p, const real* a, unsigned row, unsigned k, unsigned end) {
  if (row >= p.m || k >= end) return 0.0f;
  return load(a, across ? at(p, 1, k, row, p.m) : at(p, 1, row, k, p.k));
}

template <bool along>
__device__ float fetch_b(const Product& p, const real* b, unsigned k, unsigned column, unsigned end) {
  if (column >= p.n || k >= end) return 0.0f;
  return load(b, along ? at(p, 2, column, k, p.k) : at(p, 2, k, column, p.n));
}

__device__ void finish(const Product& p, unsigned row, unsigned column, float sum) {
  if (row >= p.m || column >= p.n) return;
  if (p.sums) {
    p.sums[((size_t)blockIdx.y * p.m + row) * p.n + column] = sum;
    return;
  }
  size_t i = blockIdx.y * p.c_batch + at(p, 3, row, column, p.n);
  if (p.bias) sum += load(p.bias, column);
  Both y = activated((int)p.activation, sum);
  if (p.c_slope) store(p.c_slope, i, y.slope);
  if (p.times) y.value *= load(p.times, i);
  put(p.c, i, y.value, p.add);
}

// across: A is [k, m] in memory, else [m, k]. along: B is [n, k], else [k, n]. quads: 1 for tiles of 64, 2 for 128.
template <bool across, bool along, int quads>
__device__ void product(const Product& p) {
  constexpr int side = 64 * quads, steps = 8, loads = side * steps / 256, own = 4 * quads, pitch = side + 4;
  // Steps of A and B twice each, later 64 rows of C. Rows are padded: stores of one column then go to different banks.
  __shared__ __align__(16) float shared[64 * pitch];
  auto as = (float(*)[steps][pitch])shared, bs = as + 2;
  unsigned tiles = (p.n + side - 1) / side;
  unsigned row0 = blockIdx.x / tiles * side, column0 = blockIdx.x % tiles * side;
  unsigned x = threadIdx.x % 16, y = threadIdx.x / 16;
  // A batch, or a part of k.
  const real *a = p.a, *b = p.b;
  unsigned begin = 0, end = p.k;
  if (p.sums) {
    begin = blockIdx.y * p.chunk;
    end = min(p.k, begin + p.chunk);
  } else {
    a += blockIdx.y * p.a_batch;
    b += blockIdx.y * p.b_batch;
  }

  float next_a[loads], next_b[loads], acc[own][own];
  auto fetch = [&](unsigned k0) {
#pragma unroll
    for (int i = 0; i < loads; i++) {
      unsigned e = threadIdx.x + 256 * i;
      // Neighbouring threads read what lies side by side in memory.
      unsigned row = across ? e % side : e / steps, k = across ? e / side : e % steps;
      next_a[i] = fetch_a<across>(p, a, row0 + row, k0 + k, end);
      unsigned column = along ? e / steps : e % side;
      k = along ? e % steps : e / side;
      next_b[i] = fetch_b<along>(p, b, k0 + k, column0 + column, end);
    }
  };
  auto keep = [&](int buffer) {
#pragma unroll
    for (int i = 0; i < loads; i++) {
      unsigned e = threadIdx.x + 256 * i;
      as[buffer][across ? e / side : e % steps][across ? e % side : e / steps] = next_a[i];
      bs[buffer][along ? e % steps : e / side][along ? e / steps : e % side] = next_b[i];
    }
  };

#pragma unroll
  for (int i = 0; i < own; i++)
#pragma unroll
    for (int j = 0; j < own; j++) acc[i][j] = 0.0f;
  fetch(begin);
  keep(0);
  __syncthreads();
  int buffer = 0;
  for (unsigned k0 = begin; k0 < end; k0 += steps) {
    bool more = k0 + steps < end;
    if (more) fetch(k0 + steps);
#pragma unroll
    for (int k = 0; k < steps; k++) {
      float av[own], bv[own];
#pragma unroll
      for (int q = 0; q < quads; q++) {
        *(float4*)&av[4 * q] = *(const float4*)&as[buffer][k][64 * q + 4 * y];
        *(float4*)&bv[4 * q] = *(const float4*)&bs[buffer][k][64 * q + 4 * x];
      }
#pragma unroll
      for (int i = 0; i < own; i++)
#pragma unroll
        for (int j = 0; j < own; j++) acc[i][j] = fmaf(av[i], bv[j], acc[i][j]);
    }
    // One barrier a step: what is written now was last read before the barrier of the step before.
    buffer ^= 1;
    if (more) keep(buffer);
    __syncthreads();
  }
  // Through shared memory: neighbouring threads then write neighbouring elements, and the epilogue, which is long, stands
  // once per 64 rows in the code, not once per element.
  auto tile = (float(*)[pitch])shared;
#pragma unroll
  for (int part = 0; part < quads; part++) {
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int q = 0; q < quads; q++) *(float4*)&tile[4 * y + i][64 * q + 4 * x] = *(float4*)&acc[4 * part + i][4 * q];
    __syncthreads();
#pragma unroll 1
    for (unsigned e = threadIdx.x; e < 64 * side; e += 256)
      finish(p, row0 + 64 * part + e / side, column0 + e % side, tile[e / side][e % side]);
    __syncthreads();
  }
}

#define PRODUCTS(name, across, along) \
  extern "C" __global__ void __launch_bounds__(256) name##64(const Product p) { product<across, along, 1>(p); } \
  extern "C" __global__ void __launch_bounds__(256, 1) name##128(const Product p) { product<across, along, 2>(p); }
PRODUCTS(nt, false, true)
PRODUCTS(nn, false, false)
PRODUCTS(tn, true, false)
