// ldmatrix, and rows swizzled in shared memory: four fragments at once, without conflicts of banks.
// lab: tile 128 128, threads 256, multiples 1 2 8, bf16
//
// As 03, but that a chunk of 16 bytes lies where `swizzled` says (bf16.cuh), and a warp takes matrices of 8 x 8 four at a time.
#include "tile.cuh"

constexpr unsigned tile = 128, depth = 32;
typedef Tile<depth> Operand;  // [128, 32]

// Steps k0 .. k0 + 31 of 128 rows of an operand, 16 bytes at a time; zero outside.
__device__ __forceinline__ void bring(Operand to, const real* from, unsigned row0, unsigned rows, unsigned k0, unsigned k) {
#pragma unroll
  for (unsigned i = threadIdx.x; i < tile * depth / 8; i += 256) {
    unsigned r = i / (depth / 8), row = row0 + r, chunk = i % (depth / 8), at = k0 + 8 * chunk;
    bool inside = row < rows && at < k;
    *(uint4*)to.at(r, chunk) = inside ? *(const uint4*)&from[row * (size_t)k + at] : make_uint4(0, 0, 0, 0);
  }
}

extern "C" __global__ void __launch_bounds__(256) gemm(const real* a, const real* b, real* c, unsigned m, unsigned n, unsigned k) {
  __shared__ __align__(128) real shared[2 * tile * depth];
  Operand as = {shared}, bs = {shared + tile * depth};
  unsigned columns = (n + tile - 1) / tile;
  unsigned row0 = blockIdx.x / columns * tile, column0 = blockIdx.x % columns * tile;
  unsigned warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  unsigned row = warp / 4 * 64, column = warp % 4 * 32;
  float sums[4][2][2][4] = {};
  for (unsigned k0 = 0; k0 < k; k0 += depth) {
    bring(as, a, row0, m, k0, k);
    bring(bs, b, column0, n, k0, k);
    __syncthreads();
#pragma unroll
    for (unsigned step = 0; step < depth / 16; step++) {
      unsigned left[4][4], right[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++) rows_left(left[i], as, row + 16 * i, 2 * step);
#pragma unroll
      for (int j = 0; j < 2; j++) rows_right(right[j], bs, column + 16 * j, 2 * step);
#pragma unroll
      for (int i = 0; i < 8; i++) multiply_two(sums[i / 2][i % 2], left[i / 2], right[i % 2]);
    }
    __syncthreads();  // before the tiles are written again
  }
#pragma unroll
  for (unsigned i = 0; i < 32; i++) {
    unsigned r = row0 + row + i / 8 * 16 + i % 2 * 8 + g, at = column0 + column + i % 8 / 2 * 8 + 2 * t;
    const float* x = &sums[i / 8][i % 8 / 4][i % 4 / 2][i % 2 * 2];
    if (r < m && at < n) *(unsigned*)&c[r * (size_t)n + at] = bf16_pair(x[0], x[1]);
  }
}
