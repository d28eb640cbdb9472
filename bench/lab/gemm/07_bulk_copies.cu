// Bulk copies (TMA) by one thread, in a ring of stages with mbarriers.
// lab: tile 128 128, threads 128, shared 131072, multiples 1 2 8, boxes 128 128, capability 90, bf16
//
// As 06, but that the copy engine computes addresses, swizzles, and fills with zeros: the first thread of the warpgroup starts two
// copies for a stage. A stage's mbarrier is complete when its bytes have come; that it may be filled again, all agree by a barrier.
#include "ptx90.cuh"
#include "storage.cuh"

constexpr unsigned tile = 128, depth = 64, stages = 4, threads = 128;
constexpr unsigned operand_bytes = tile * depth * sizeof(real), row_bytes = depth * sizeof(real);

// 16 steps of k of the rows from `row` on.
__device__ __forceinline__ unsigned long long described(const unsigned char* operand, unsigned row, unsigned step) {
  return operand_of(operand + row * row_bytes + 32 * step, 16, 8 * row_bytes);
}

extern "C" __global__ void __launch_bounds__(threads) gemm(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                                                           real* c, unsigned m, unsigned n, unsigned k) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ Mbarrier full[stages];
  unsigned columns = (n + tile - 1) / tile, count = (k + depth - 1) / depth;
  unsigned row0 = blockIdx.x / columns * tile, column0 = blockIdx.x % columns * tile;
  auto operand = [&](unsigned stage, unsigned which) { return shared + (stage % stages * 2 + which) * operand_bytes; };
  auto fetch = [&](unsigned stage) {
    if (threadIdx.x > 0 || stage >= count) return;
    Mbarrier* come = full + stage % stages;
    mbarrier_arrive_expect(come, 2 * operand_bytes);
    tensor_load(operand(stage, 0), a, come, stage * depth, row0);
    tensor_load(operand(stage, 1), b, come, stage * depth, column0);
  };
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < stages; i++) mbarrier_init(full + i, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  for (unsigned stage = 0; stage < stages - 1; stage++) fetch(stage);
  float sums[2][tile / 2];
#pragma unroll 1
  for (unsigned stage = 0; stage < count; stage++) {
    mbarrier_wait(full + stage % stages, stage / stages % 2);
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
