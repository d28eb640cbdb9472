// Sums to memory by stmatrix and bulk stores, instead of pairs that each thread writes.
// lab: tile 128 192, threads 384, shared 212992, multiples 1 8 8, persistent 1, boxes 128 96 64, capability 90, bf16
//
// As 11. Each warpgroup has 64 rows of its own in shared memory, three boxes of 64 columns, swizzled: a warp puts four matrices of
// 8 x 8 there at a time, and one thread starts the stores, which cut off what lies outside C. The shipped kernel's way (epilogue.cuh)
// stages sums as float, because biases, activations and factors are still to come.
#include "ptx90.cuh"
#include "product.cuh"

constexpr unsigned tile_m = 128, tile_n = 192, depth = 64, stages = 4, groups = 2, ranks = 2;
constexpr unsigned row_bytes = depth * sizeof(real), a_bytes = tile_m * row_bytes, stage_bytes = (tile_m + tile_n) * row_bytes;

constexpr unsigned box_bytes = 64 * 128, staged_bytes = tile_n / 64 * box_bytes;

// Named barriers, one per warpgroup: its turn to multiply, its threads among themselves.
constexpr int turn = 1, meets = 3;

// Stages of the ring, from which barriers and phases follow.
struct Ring {
  unsigned char* tiles;
  Mbarrier *full, *empty;
  unsigned at;  // stages filled, or used, so far

  __device__ __forceinline__ unsigned slot() const { return at % stages; }
  __device__ __forceinline__ unsigned parity() const { return at / stages % 2; }
  __device__ __forceinline__ unsigned char* tile() const { return tiles + slot() * stage_bytes; }
};

// The first row and column of C of the block's i-th tile; false where there are no more for the cluster.
__device__ __forceinline__ bool place_of(unsigned i, unsigned m, unsigned n, uint2& place) {
  unsigned rows = (m + ranks * tile_m - 1) / (ranks * tile_m), columns = (n + tile_n - 1) / tile_n;
  unsigned index = (blockIdx.x + i * gridDim.x) / ranks;
  if (index >= rows * columns) return false;
  uint2 tile = tile_of(index, rows, columns);
  place = make_uint2((ranks * tile.x + cluster_rank()) * tile_m, tile.y * tile_n);
  return true;
}

__device__ __forceinline__ void fill(const TensorMap& a, const TensorMap& b, const Ring& ring, uint2 place, unsigned k) {
  Mbarrier* full = ring.full + ring.slot();
  mbarrier_wait(ring.empty + ring.slot(), ring.parity() ^ 1);
  mbarrier_arrive_expect(full, stage_bytes);
  tensor_load(ring.tile(), a, full, k, place.x);
  unsigned first = cluster_rank() * (tile_n / ranks);
  tensor_load_multicast(ring.tile() + a_bytes + first * row_bytes, b, full, (1 << ranks) - 1, k, place.y + first);
}

// The sums of a tile; all stages but the last are left.
template <typename Leave>
__device__ __forceinline__ void multiply(float (&sums)[2][tile_n / 2], Ring& ring, unsigned count, const Leave& leave) {
#pragma unroll 1
  for (unsigned step = 0; step < count; step++, ring.at++) {
    mbarrier_wait(ring.full + ring.slot(), ring.parity());
    const unsigned char *as = ring.tile(), *bs = ring.tile() + a_bytes;
    group_fence();
#pragma unroll
    for (unsigned i = 0; i < depth / 16; i++)
#pragma unroll
      for (unsigned half = 0; half < 2; half++)
        group_multiply<false, false>(sums[half], operand_of(as + half * 64 * row_bytes + 32 * i, 16, 8 * row_bytes),
                                     operand_of(bs + 32 * i, 16, 8 * row_bytes), step + i > 0);
    group_commit();
    if (step == 0) continue;
    group_wait<1>();
    leave(ring.at - 1);
  }
}

// 64 rows of sums to shared memory, when what lay there has been read.
__device__ __forceinline__ void stage(unsigned char* staged, const float (&sums)[tile_n / 2], int barrier) {
  unsigned lane = threadIdx.x % 32, row = threadIdx.x % 128 / 32 * 16 + lane % 16;
  tensor_store_wait_read<0>();
  barrier_sync(barrier, 128);
#pragma unroll
  for (unsigned i = 0; i < tile_n / 16; i++) {
    const float* x = &sums[8 * i];
    const unsigned pairs[4] = {bf16_pair(x[0], x[1]), bf16_pair(x[2], x[3]), bf16_pair(x[4], x[5]), bf16_pair(x[6], x[7])};
    unsigned chunk = i % 4 * 2 + lane / 16;
    store_matrix_x4(staged + i / 4 * box_bytes + row * 128 + 16 * (chunk ^ row % 8), pairs);
  }
  fence_async();
  barrier_sync(barrier, 128);
}

// A warpgroup makes every second tile of the block.
__device__ __forceinline__ void make(const TensorMap& c, unsigned m, unsigned n, unsigned count, Ring ring, unsigned group) {
  // By both blocks: copies of each write to both.
  auto leave = [&](unsigned at) {
    if (threadIdx.x % 128 < ranks) mbarrier_arrive_remote(ring.empty + at % stages, threadIdx.x % 128);
  };
  unsigned char* staged = ring.tiles + stages * stage_bytes + group * staged_bytes;
  uint2 place, next;
  if (group == 1 && place_of(0, m, n, place)) barrier_arrive(turn + 0, groups * 128);  // the first turn is the other's
  for (unsigned i = 0; place_of(i, m, n, place); i++) {
    if (i % groups != group) {
      ring.at += count;
      continue;
    }
    float sums[2][tile_n / 2];
    barrier_sync(turn + group, groups * 128);
    multiply(sums, ring, count, leave);
    if (place_of(i + 1, m, n, next)) barrier_arrive(turn + 1 - group, groups * 128);
    group_wait<0>();
    group_settle(sums[0]);
    group_settle(sums[1]);
    leave(ring.at - 1);
#pragma unroll
    for (unsigned half = 0; half < 2; half++) {
      stage(staged, sums[half], meets + group);
      if (threadIdx.x % 128 == 0) {
        for (unsigned box = 0; box < tile_n / 64; box++)
          tensor_store(c, staged + box * box_bytes, place.y + 64 * box, place.x + 64 * half);
        tensor_store_commit();
      }
    }
  }
  tensor_store_wait<0>();
}

extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(384, 1)
    gemm(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
         const __grid_constant__ TensorMap c, unsigned m, unsigned n, unsigned k) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ Mbarrier full[stages], empty[stages];
  Ring ring = {shared, full, empty, 0};
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < stages; i++) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, ranks);
    }
    fence_mbarrier_init();
  }
  cluster_arrive();
  cluster_wait();
  unsigned count = (k + depth - 1) / depth, group = threadIdx.x / 128;
  if (group == groups) {
    fewer_registers<40>();
    uint2 place;
    for (unsigned i = 0; threadIdx.x == groups * 128 && place_of(i, m, n, place); i++)
      for (unsigned step = 0; step < count; step++, ring.at++) fill(a, b, ring, place, step * depth);
    __syncwarp();  // with the lane that loads
  } else {
    more_registers<232>();
    make(c, m, n, count, ring, group);
  }
  cluster_arrive();
  cluster_wait();
}
