// Tensor cores (mma.sync) in the place of multiplications by threads.
// lab: tile 128 128, threads 256, multiples 1 2 8, bf16
//
// A block makes a tile of C [128, 128], each of its 8 warps [64, 32] in pieces of [16, 8]. Operands lie in shared memory as they do
// in memory, 32 steps of k in a row, and lanes read the pairs that mma.sync wants one by one: 64 bytes from row to row, so rows
// meet in the same banks. Order of a sum: along k, 16 at a time in the tensor core's own.
#include "bf16.cuh"

constexpr unsigned tile = 128, depth = 32;
typedef real Row[depth];

// Steps k0 .. k0 + 31 of 128 rows of an operand, 16 bytes at a time; zero outside.
__device__ __forceinline__ void bring(Row* to, const real* from, unsigned row0, unsigned rows, unsigned k0, unsigned k) {
#pragma unroll
  for (unsigned i = threadIdx.x; i < tile * depth / 8; i += 256) {
    unsigned r = i / (depth / 8), row = row0 + r, at = i % (depth / 8) * 8;
    bool inside = row < rows && k0 + at < k;
    *(uint4*)&to[r][at] = inside ? *(const uint4*)&from[row * (size_t)k + k0 + at] : make_uint4(0, 0, 0, 0);
  }
}

__device__ __forceinline__ unsigned pair(const Row* from, unsigned row, unsigned at) { return *(const unsigned*)&from[row][at]; }

extern "C" __global__ void __launch_bounds__(256) gemm(const real* a, const real* b, real* c, unsigned m, unsigned n, unsigned k) {
  __shared__ __align__(16) Row as[tile], bs[tile];
  unsigned columns = (n + tile - 1) / tile;
  unsigned row0 = blockIdx.x / columns * tile, column0 = blockIdx.x % columns * tile;
  unsigned warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  unsigned row = warp / 4 * 64, column = warp % 4 * 32;
  float sums[4][4][4] = {};
  for (unsigned k0 = 0; k0 < k; k0 += depth) {
    bring(as, a, row0, m, k0, k);
    bring(bs, b, column0, n, k0, k);
    __syncthreads();
#pragma unroll
    for (unsigned step = 0; step < depth; step += 16) {
      unsigned left[4][4], right[4][2];
#pragma unroll
      for (unsigned i = 0; i < 16; i++) left[i / 4][i % 4] = pair(as, row + i / 4 * 16 + i % 2 * 8 + g, step + i % 4 / 2 * 8 + 2 * t);
#pragma unroll
      for (unsigned j = 0; j < 8; j++) right[j / 2][j % 2] = pair(bs, column + j / 2 * 8 + g, step + j % 2 * 8 + 2 * t);
#pragma unroll
      for (int i = 0; i < 16; i++) multiply_bf16(sums[i / 4][i % 4], left[i / 4], right[i % 4]);
    }
    __syncthreads();  // before the tiles are written again
  }
#pragma unroll
  for (unsigned i = 0; i < 32; i++) {
    unsigned r = row0 + row + i / 8 * 16 + i % 2 * 8 + g, at = column0 + column + i % 8 / 2 * 8 + 2 * t;
    const float* x = &sums[i / 8][i % 8 / 2][i % 2 * 2];
    if (r < m && at < n) *(unsigned*)&c[r * (size_t)n + at] = bf16_pair(x[0], x[1]);
  }
}
