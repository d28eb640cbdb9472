// Tiles in shared memory: what is read once from memory is used 64 times.
// lab: tile 64 64, threads 256
//
// A block makes a tile of C [64, 64], a thread a square of 4 x 4 in registers. 16 steps of k at a time are brought to shared memory
// as f32, transposed, so that a thread reads its four rows, and its four columns, at once. Order of a sum: along k.
#include "storage.cuh"

constexpr unsigned tile = 64, depth = 16;
typedef float Part[tile + 4];  // of one step of k

// Steps k .. k + 15 of 64 rows of an operand; zero outside.
__device__ __forceinline__ void bring(Part* to, const real* from, unsigned row0, unsigned rows, unsigned k0, unsigned k) {
#pragma unroll
  for (unsigned i = threadIdx.x; i < tile * depth; i += 256) {
    unsigned row = row0 + i / depth, step = k0 + i % depth;
    to[i % depth][i / depth] = row < rows && step < k ? load(from, row * (size_t)k + step) : 0.0f;
  }
}

extern "C" __global__ void __launch_bounds__(256) gemm(const real* a, const real* b, real* c, unsigned m, unsigned n, unsigned k) {
  __shared__ __align__(16) Part as[depth], bs[depth];
  unsigned columns = (n + tile - 1) / tile;
  unsigned row0 = blockIdx.x / columns * tile, column0 = blockIdx.x % columns * tile;
  unsigned row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  float sums[4][4] = {};
  for (unsigned k0 = 0; k0 < k; k0 += depth) {
    bring(as, a, row0, m, k0, k);
    bring(bs, b, column0, n, k0, k);
    __syncthreads();
#pragma unroll
    for (unsigned step = 0; step < depth; step++) {
      float4 x = *(const float4*)&as[step][row], y = *(const float4*)&bs[step][column];
      const float left[4] = {x.x, x.y, x.z, x.w}, right[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
      for (int i = 0; i < 16; i++) sums[i / 4][i % 4] = fmaf(left[i / 4], right[i % 4], sums[i / 4][i % 4]);
    }
    __syncthreads();  // before the tiles are written again
  }
#pragma unroll
  for (unsigned i = 0; i < 16; i++) {
    unsigned r = row0 + row + i / 4, at = column0 + column + i % 4;
    if (r < m && at < n) store(c, r * (size_t)n + at, sums[i / 4][i % 4]);
  }
}
