// Ping-pong: each warpgroup makes tiles of its own, and brings sums to memory while the other multiplies.
// lab: tile 128 192, threads 384, shared 163840, multiples 1 2 8, persistent 1, boxes 128 192, capability 90, bf16
//
// As 09 with tiles of [128, 192], two products of [64, 192], which one warpgroup holds in its registers. They take turns: a warpgroup
// starts when all products of the other's tile are started, so that tensor cores go on while sums are written.
#include "ptx90.cuh"
#include "product.cuh"

constexpr unsigned tile_m = 128, tile_n = 192, depth = 64, stages = 4, groups = 2;
constexpr unsigned row_bytes = depth * sizeof(real), a_bytes = tile_m * row_bytes, stage_bytes = (tile_m + tile_n) * row_bytes;

// Named barriers, one per warpgroup: its turn to multiply.
constexpr int turn = 1;

// Stages of the ring, from which barriers and phases follow.
struct Ring {
  unsigned char* tiles;
  Mbarrier *full, *empty;
  unsigned at;  // stages filled, or used, so far

  __device__ __forceinline__ unsigned slot() const { return at % stages; }
  __device__ __forceinline__ unsigned parity() const { return at / stages % 2; }
  __device__ __forceinline__ unsigned char* tile() const { return tiles + slot() * stage_bytes; }
};

// The first row and column of C of the block's i-th tile; false where there are no more.
__device__ __forceinline__ bool place_of(unsigned i, unsigned m, unsigned n, uint2& place) {
  unsigned rows = (m + tile_m - 1) / tile_m, columns = (n + tile_n - 1) / tile_n, index = blockIdx.x + i * gridDim.x;
  if (index >= rows * columns) return false;
  uint2 tile = tile_of(index, rows, columns);
  place = make_uint2(tile.x * tile_m, tile.y * tile_n);
  return true;
}

__device__ __forceinline__ void fill(const TensorMap& a, const TensorMap& b, const Ring& ring, uint2 place, unsigned k) {
  Mbarrier* full = ring.full + ring.slot();
  mbarrier_wait(ring.empty + ring.slot(), ring.parity() ^ 1);
  mbarrier_arrive_expect(full, stage_bytes);
  tensor_load(ring.tile(), a, full, k, place.x);
  tensor_load(ring.tile() + a_bytes, b, full, k, place.y);
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

extern "C" __global__ void __launch_bounds__(384, 1) gemm(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                                                          real* c, unsigned m, unsigned n, unsigned k) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ Mbarrier full[stages], empty[stages];
  Ring ring = {shared, full, empty, 0};
  if (threadIdx.x == 0) {
    for (unsigned i = 0; i < stages; i++) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, 1);
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  unsigned count = (k + depth - 1) / depth, group = threadIdx.x / 128;
  uint2 place;
  if (group == groups) {
    fewer_registers<40>();
    if (threadIdx.x > groups * 128) return;
    for (unsigned i = 0; place_of(i, m, n, place); i++)
      for (unsigned step = 0; step < count; step++, ring.at++) fill(a, b, ring, place, step * depth);
    return;
  }
  more_registers<232>();
  auto leave = [&](unsigned at) {
    if (threadIdx.x % 128 == 0) mbarrier_arrive(empty + at % stages);
  };
  if (group == 1 && place_of(0, m, n, place)) barrier_arrive(turn + 0, groups * 128);  // the first turn is the other's
  for (unsigned i = 0; place_of(i, m, n, place); i++) {
    if (i % groups != group) {
      ring.at += count;
      continue;
    }
    uint2 next;
    float sums[2][tile_n / 2];
    barrier_sync(turn + group, groups * 128);
    multiply(sums, ring, count, leave);
    if (place_of(i + 1, m, n, next)) barrier_arrive(turn + 1 - group, groups * 128);
    group_wait<0>();
    group_settle(sums[0]);
    group_settle(sums[1]);
    leave(ring.at - 1);
    unsigned row = place.x + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4, column = place.y + threadIdx.x % 4 * 2;
#pragma unroll
    for (unsigned i = 0; i < 4; i++, row += i % 2 ? 8 : 56) {
      real* to = c + row * (size_t)n + column;
#pragma unroll
      for (unsigned j = 0; j < tile_n / 8; j++) {
        const float* x = &sums[i / 2][4 * j + i % 2 * 2];
        if (row < m && column + 8 * j < n) *(unsigned*)&to[8 * j] = bf16_pair(x[0], x[1]);
      }
      __syncwarp();  // a row after the other: addresses of all would not fit the registers
    }
  }
}
