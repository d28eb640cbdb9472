// Products of a warpgroup (wgmma), which reads its operands in shared memory itself.
// lab: tile 128 128, threads 128, shared 131072, multiples 1 2 8, capability 90, bf16
//
// As 05, with one warpgroup that makes [128, 128] as two products of [64, 128], 16 steps of k each, and with 64 steps of k in a stage:
// rows of 128 bytes, whose swizzle is the one that wgmma knows. Threads still copy, and say so to the asynchronous proxy.
#include "ptx90.cuh"
#include "tile.cuh"

constexpr unsigned tile = 128, depth = 64, stages = 4, threads = 128;
typedef Tile<depth> Operand;  // [128, 64]

// Starts copies of steps k0 .. k0 + 63 of 128 rows of an operand; zero outside.
__device__ __forceinline__ void bring(Operand to, const real* from, unsigned row0, unsigned rows, unsigned k0, unsigned k) {
#pragma unroll
  for (unsigned i = threadIdx.x; i < tile * depth / 8; i += threads) {
    unsigned r = i / (depth / 8), row = row0 + r, chunk = i % (depth / 8), at = k0 + 8 * chunk;
    bool inside = row < rows && at < k;
    copy_async_16_or_zero(to.at(r, chunk), from + (inside ? row * (size_t)k + at : 0), inside);
  }
}

// 16 steps of k of the rows from `row` on.
__device__ __forceinline__ unsigned long long described(Operand operand, unsigned row, unsigned step) {
  return operand_of(operand.first + row * depth + 16 * step, 16, 8 * depth * sizeof(real));
}

extern "C" __global__ void __launch_bounds__(threads) gemm(const real* a, const real* b, real* c, unsigned m, unsigned n, unsigned k) {
  extern __shared__ __align__(1024) real shared[];
  auto operand = [=](unsigned stage, unsigned which) { return Operand{shared + (stage % stages * 2 + which) * tile * depth}; };
  unsigned columns = (n + tile - 1) / tile, count = (k + depth - 1) / depth;
  unsigned row0 = blockIdx.x / columns * tile, column0 = blockIdx.x % columns * tile;
  auto fetch = [=](unsigned stage) {
    if (stage < count) {
      bring(operand(stage, 0), a, row0, m, stage * depth, k);
      bring(operand(stage, 1), b, column0, n, stage * depth, k);
    }
    copy_async_commit();  // a group per stage, empty ones too: waiting counts them
  };
  float sums[2][tile / 2];
  for (unsigned stage = 0; stage < stages - 1; stage++) fetch(stage);
#pragma unroll 1
  for (unsigned stage = 0; stage < count; stage++) {
    copy_async_wait<stages - 2>();
    fence_async();
    __syncthreads();
    group_fence();
#pragma unroll
    for (unsigned step = 0; step < depth / 16; step++)
#pragma unroll
      for (unsigned half = 0; half < 2; half++)
        group_multiply<false, false>(sums[half], described(operand(stage, 0), 64 * half, step), described(operand(stage, 1), 0, step),
                                     stage + step > 0);
    group_commit();
    group_wait<1>();  // the stage before this one is done with, and filled again
    __syncthreads();
    fetch(stage + stages - 1);
  }
  copy_async_wait_all();
  group_wait<0>();
  group_settle(sums[0]);
  group_settle(sums[1]);
  unsigned row = row0 + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = column0 + threadIdx.x % 4 * 2;
#pragma unroll
  for (unsigned i = 0; i < tile / 2; i++) {
    unsigned r = row + i / 32 * 64 + i % 2 * 8, at = column + i % 32 / 2 * 8;
    const float* x = &sums[i / 32][i % 32 * 2];
    if (r < m && at < n) *(unsigned*)&c[r * (size_t)n + at] = bf16_pair(x[0], x[1]);
  }
}
