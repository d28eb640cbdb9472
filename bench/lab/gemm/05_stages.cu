// Asynchronous copies (cp.async), four stages deep: memory is read while tensor cores multiply.
// lab: tile 128 128, threads 256, shared 65536, multiples 1 2 8, bf16
//
// As 04; three stages of 32 steps of k are on their way while the fourth is multiplied, and no register holds what is copied. One
// barrier per stage: it says that all copies of this stage have come, and that all are done with the one that is filled next.
#include "tile.cuh"

constexpr unsigned tile = 128, depth = 32, stages = 4;
typedef Tile<depth> Operand;  // [128, 32]

// Starts copies of steps k0 .. k0 + 31 of 128 rows of an operand; zero outside.
__device__ __forceinline__ void bring(Operand to, const real* from, unsigned row0, unsigned rows, unsigned k0, unsigned k) {
#pragma unroll
  for (unsigned i = threadIdx.x; i < tile * depth / 8; i += 256) {
    unsigned r = i / (depth / 8), row = row0 + r, chunk = i % (depth / 8), at = k0 + 8 * chunk;
    bool inside = row < rows && at < k;
    copy_async_16_or_zero(to.at(r, chunk), from + (inside ? row * (size_t)k + at : 0), inside);
  }
}

extern "C" __global__ void __launch_bounds__(256, 2) gemm(const real* a, const real* b, real* c, unsigned m, unsigned n, unsigned k) {
  extern __shared__ __align__(128) real shared[];
  auto operand = [=](unsigned stage, unsigned which) { return Operand{shared + (stage % stages * 2 + which) * tile * depth}; };
  unsigned columns = (n + tile - 1) / tile;
  unsigned row0 = blockIdx.x / columns * tile, column0 = blockIdx.x % columns * tile;
  unsigned warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  unsigned row = warp / 4 * 64, column = warp % 4 * 32, count = (k + depth - 1) / depth;
  auto fetch = [=](unsigned stage) {
    if (stage < count) {
      bring(operand(stage, 0), a, row0, m, stage * depth, k);
      bring(operand(stage, 1), b, column0, n, stage * depth, k);
    }
    copy_async_commit();  // a group per stage, empty ones too: waiting counts them
  };
  float sums[4][2][2][4] = {};
  for (unsigned stage = 0; stage < stages - 1; stage++) fetch(stage);
#pragma unroll 1
  for (unsigned stage = 0; stage < count; stage++) {
    copy_async_wait<stages - 2>();
    __syncthreads();
    fetch(stage + stages - 1);
#pragma unroll
    for (unsigned step = 0; step < depth / 16; step++) {
      unsigned left[4][4], right[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++) rows_left(left[i], operand(stage, 0), row + 16 * i, 2 * step);
#pragma unroll
      for (int j = 0; j < 2; j++) rows_right(right[j], operand(stage, 1), column + 16 * j, 2 * step);
#pragma unroll
      for (int i = 0; i < 8; i++) multiply_two(sums[i / 2][i % 2], left[i / 2], right[i % 2]);
    }
  }
  copy_async_wait_all();
#pragma unroll
  for (unsigned i = 0; i < 32; i++) {
    unsigned r = row0 + row + i / 8 * 16 + i % 2 * 8 + g, at = column0 + column + i % 8 / 2 * 8 + 2 * t;
    const float* x = &sums[i / 8][i % 8 / 4][i % 4 / 2][i % 2 * 2];
    if (r < m && at < n) *(unsigned*)&c[r * (size_t)n + at] = bf16_pair(x[0], x[1]);
  }
}
