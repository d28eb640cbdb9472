// Specialised warps: one warpgroup only loads, two only multiply; registers move from the one to the others.
// lab: tile 128 256, threads 384, shared 196608, multiples 1 2 8, boxes 128 256, capability 90, bf16
//
// As 07 with tiles of [128, 256], of which either warpgroup makes [64, 256]. A thread of the third fills the ring as fast as its stages
// are left, which a second mbarrier per stage counts: no barrier of all threads is in the loop, and warpgroups may be a stage apart.
#include "ptx90.cuh"
#include "storage.cuh"

constexpr unsigned tile_m = 128, tile_n = 256, depth = 64, stages = 4, groups = 2;
constexpr unsigned row_bytes = depth * sizeof(real), a_bytes = tile_m * row_bytes, stage_bytes = (tile_m + tile_n) * row_bytes;

// Stages of the ring, from which barriers and phases follow.
struct Ring {
  unsigned char* tiles;
  Mbarrier *full, *empty;
  unsigned at;  // stages filled, or used, so far

  __device__ __forceinline__ unsigned slot() const { return at % stages; }
  __device__ __forceinline__ unsigned parity() const { return at / stages % 2; }
  __device__ __forceinline__ unsigned char* tile() const { return tiles + slot() * stage_bytes; }
};

__device__ __forceinline__ void fill(const TensorMap& a, const TensorMap& b, const Ring& ring, unsigned row, unsigned column) {
  Mbarrier* full = ring.full + ring.slot();
  mbarrier_wait(ring.empty + ring.slot(), ring.parity() ^ 1);
  mbarrier_arrive_expect(full, stage_bytes);
  tensor_load(ring.tile(), a, full, ring.at * depth, row);
  tensor_load(ring.tile() + a_bytes, b, full, ring.at * depth, column);
}

// The sums of a warpgroup; all stages are left.
__device__ __forceinline__ void multiply(float (&sums)[tile_n / 2], Ring& ring, unsigned count, unsigned group) {
  auto leave = [&](unsigned at) {
    if (threadIdx.x % 128 == 0) mbarrier_arrive(ring.empty + at % stages);
  };
#pragma unroll 1
  for (unsigned step = 0; step < count; step++, ring.at++) {
    mbarrier_wait(ring.full + ring.slot(), ring.parity());
    const unsigned char *as = ring.tile() + group * 64 * row_bytes, *bs = ring.tile() + a_bytes;
    group_fence();
#pragma unroll
    for (unsigned i = 0; i < depth / 16; i++)
      group_multiply<false, false>(sums, operand_of(as + 32 * i, 16, 8 * row_bytes), operand_of(bs + 32 * i, 16, 8 * row_bytes),
                                   step + i > 0);
    group_commit();
    if (step == 0) continue;
    group_wait<1>();
    leave(ring.at - 1);
  }
  group_wait<0>();
  group_settle(sums);
  leave(ring.at - 1);
}

extern "C" __global__ void __launch_bounds__(384, 1) gemm(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                                                          real* c, unsigned m, unsigned n, unsigned k) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ Mbarrier full[stages], empty[stages];
  Ring ring = {shared, full, empty, 0};
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < stages; i++) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, groups);
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  unsigned columns = (n + tile_n - 1) / tile_n, count = (k + depth - 1) / depth, group = threadIdx.x / 128;
  unsigned row0 = blockIdx.x / columns * tile_m, column0 = blockIdx.x % columns * tile_n;
  if (group == groups) {
    fewer_registers<40>();
    if (threadIdx.x == groups * 128)
      for (; ring.at < count; ring.at++) fill(a, b, ring, row0, column0);
    return;
  }
  more_registers<232>();
  float sums[tile_n / 2];
  multiply(sums, ring, count, group);
  unsigned row = row0 + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = column0 + threadIdx.x % 4 * 2;
#pragma unroll
  for (unsigned i = 0; i < tile_n / 4; i++) {
    unsigned r = row + i % 2 * 8, at = column + i / 2 * 8;
    if (r < m && at < n) *(unsigned*)&c[r * (size_t)n + at] = bf16_pair(sums[2 * i], sums[2 * i + 1]);
  }
}
