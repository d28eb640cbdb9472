// The product of tensor.bf16.cu as a template: B's tiles come from memory, or from where a kernel makes them.
#pragma once
#include "epilogue.cuh"
#include "tiles.cuh"

constexpr int stages = 4;

// The sums of a warp: [rows of 16][columns of 8][element].
template <int rows, int columns>
struct Sums {
  float at[rows / 16][columns / 8][4];
  float a[rows / 16][4];  // of A along k, in every column
};

// Adds the products of 16 steps of k to a warp's sums.
template <bool across, bool along, int tile_m, int tile_n, int rows, int columns>
__device__ __forceinline__ void multiply_step(Sums<rows, columns>& sums, const real* as, const real* bs, unsigned row,
                                              unsigned column, unsigned step, bool sum_a) {
  unsigned a[rows / 16][4], b[columns / 16][4];
#pragma unroll
  for (int i = 0; i < rows / 16; i++) load_a<across, tile_m>(a[i], as, row + 16 * i, step);
#pragma unroll
  for (int j = 0; j < columns / 16; j++) load_b<along, tile_n>(b[j], bs, column + 16 * j, step);
#pragma unroll
  for (int i = 0; i < rows / 16; i++)
#pragma unroll
    for (int j = 0; j < columns / 16; j++) {
      multiply_bf16(sums.at[i][2 * j], a[i], {b[j][0], b[j][1]});
      multiply_bf16(sums.at[i][2 * j + 1], a[i], {b[j][2], b[j][3]});
    }
  if (across && sum_a) {
#pragma unroll
    for (int i = 0; i < rows / 16; i++) multiply_bf16(sums.a[i], a[i], {bf16_ones, bf16_ones});
  }
}

// across: A is [k, m] in memory, else [m, k]. along: B is [n, k], else [k, n]. `b_tiles.fill` gives B's tiles. `images`: A may lie in an image;
// elsewhere the arithmetic for that would only be in the way.
template <bool images, bool across, bool along, int tile_m, int tile_n, int warps_m, int warps_n, typename B>
__device__ __forceinline__ void product(const Product& p, const B& b_tiles) {
  constexpr int threads = 32 * warps_m * warps_n, rows = tile_m / warps_m, columns = tile_n / warps_n;
  constexpr int a_size = tile_m * depth, b_size = tile_n * depth;
  extern __shared__ __align__(128) unsigned char shared[];
  real *as = (real*)shared, *bs = as + stages * a_size;
  uint2 tile = tile_of(blockIdx.x, (p.m + tile_m - 1) / tile_m, (p.n + tile_n - 1) / tile_n);
  unsigned row0 = tile.x * tile_m, column0 = tile.y * tile_n;
  unsigned warp = threadIdx.x / 32, row = warp / warps_n * rows, column = warp % warps_n * columns;
  bool divided = p.sums != nullptr;
  unsigned begin = divided ? blockIdx.y * p.chunk : 0, end = divided ? min(p.k, begin + p.chunk) : p.k;
  const real* a = p.a + (divided ? 0 : blockIdx.y * p.a_batch);
  unsigned b_batch = divided ? 0 : blockIdx.y;
  bool sum_a = across && p.a_sums && tile.y == 0 && column == 0;

  auto fetch = [&](unsigned stage) {
    unsigned k = begin + stage * depth;
    if (k < end) {
      real *to_a = as + stage % stages * a_size, *to_b = bs + stage % stages * b_size;
      if (across)
        load_tile<images, 1, depth, tile_m, threads>(p, to_a, a, {k, row0, end, p.m}, p.m);
      else
        load_tile<images, 1, tile_m, depth, threads>(p, to_a, a, {row0, k, p.m, end}, p.k);
      if (along)
        b_tiles.template fill<tile_n, depth, threads>(p, to_b, b_batch, {column0, k, p.n, end}, p.k);
      else
        b_tiles.template fill<depth, tile_n, threads>(p, to_b, b_batch, {k, column0, end, p.n}, p.n);
    }
    copy_async_commit();  // a group per stage, empty ones too: waiting counts them
  };

  Sums<rows, columns> sums = {};
#pragma unroll
  for (int stage = 0; stage < stages - 1; stage++) fetch(stage);
  unsigned count = (end - begin + depth - 1) / depth;
#pragma unroll 1
  for (unsigned stage = 0; stage < count; stage++) {
    copy_async_wait<stages - 2>();
    __syncthreads();  // everyone's copies are here, and everyone is done with the stage that is overwritten next
    fetch(stage + stages - 1);
    const real *at_a = as + stage % stages * a_size, *at_b = bs + stage % stages * b_size;
#pragma unroll
    for (unsigned step = 0; step < depth / 16; step++)
      multiply_step<across, along, tile_m, tile_n>(sums, at_a, at_b, row, column, step, sum_a);
  }
  copy_async_wait_all();

  // 64 rows at a time: all of a tile in float would take more room than the stages.
  constexpr int parts = tile_m / 64, group = rows / parts, pitch = tile_n + 8;
  float* staged = (float*)shared;
  unsigned lane = threadIdx.x % 32;
#pragma unroll
  for (int part = 0; part < parts; part++) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < group / 16; i++)
#pragma unroll
      for (int j = 0; j < columns / 8; j++) {
        const float(&x)[4] = sums.at[part * (group / 16) + i][j];
        float* to = &staged[(row / rows * group + 16 * i + lane / 4) * pitch + column + 8 * j + lane % 4 * 2];
        *(float2*)to = make_float2(x[0], x[1]);
        *(float2*)(to + 8 * pitch) = make_float2(x[2], x[3]);
      }
    __syncthreads();
    StagedRows row_of = {row0 + part * group, group, rows};
    finish_tile<64, tile_n, threads>(p, staged, pitch, row_of, column0, blockIdx.y, threadIdx.x, [] { __syncthreads(); });
  }
  if (across && sum_a && lane % 4 == 0) {
    float* to = p.a_sums + (size_t)(divided ? blockIdx.y : 0) * p.m;
#pragma unroll
    for (int i = 0; i < rows / 16; i++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        unsigned at = row0 + row + 16 * i + 8 * half + lane / 4;
        if (at < p.m) to[at] = sums.a[i][2 * half];
      }
  }
}

// B in memory.
template <bool images>
struct InMemory {
  template <int height, int width, int threads>
  __device__ __forceinline__ void fill(const Product& p, real* tile, unsigned batch, Part part, size_t pitch) const {
    load_tile<images, 2, height, width, threads>(p, tile, p.b + batch * p.b_batch, part, pitch);
  }
};
