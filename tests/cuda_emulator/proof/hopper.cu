// Proofs about what sm_90 adds: mbarriers, bulk copies, products of warpgroups.
#include "ptx90.cuh"
#include "twins.cuh"

enum Mistake {
  none,
  missing_init_fence,
  wrong_bytes,
  missing_bytes,
  wrong_parity,
  early_release,
  missing_group_fence,
  missing_group_wait,
  wrong_stride,
  missing_fence_async,
  unfinished_store,
  misaligned_tile,
  unawaited_slot,
  no_first_product,
};

constexpr int side = 64, stages = 3, tile_bytes = side * side * 2, stage_bytes = 2 * tile_bytes;

// One thread fills the ring: per step a tile [64, 64] of a and one of b, as soon as its slot has been left.
template <int mistake>
__device__ void produce(unsigned char* ring, Mbarrier* full, Mbarrier* empty, const TensorMap& a, const TensorMap& b,
                        int steps) {
  int row = side * blockIdx.y, column = side * blockIdx.x;
  for (int i = 0; i < steps; i++) {
    int slot = i % stages, turn = i / stages % 2;
    unsigned char* tile = ring + slot * stage_bytes + (mistake == misaligned_tile ? 512 : 0);
    if (mistake != unawaited_slot) mbarrier_wait(empty + slot, turn ^ 1);
    mbarrier_arrive_expect(full + slot, mistake == wrong_bytes     ? tile_bytes
                                        : mistake == missing_bytes ? stage_bytes + 128
                                                                   : stage_bytes);
    tensor_load(tile, a, full + slot, side * i, row);                  // CAUGHT: misaligned_tile
    tensor_load(tile + tile_bytes, b, full + slot, side * i, column);  // CAUGHT: wrong_bytes
  }
}

// One warpgroup multiplies what has come, and leaves a slot when the products that read it are done.
template <int mistake>
__device__ void consume(float (&sums)[32], unsigned char* ring, Mbarrier* full, Mbarrier* empty, int steps) {
  constexpr unsigned stride = mistake == wrong_stride ? 512 : 1024;
  for (int i = 0; i < steps; i++) {
    int slot = i % stages, turn = i / stages % 2;
    unsigned char* tile = ring + slot * stage_bytes;
    mbarrier_wait(full + slot, mistake == wrong_parity ? turn ^ 1 : turn);  // CAUGHT: missing_bytes
    if (mistake != missing_group_fence) group_fence();
    for (int k = 0; k < 4; k++) {
      unsigned long long a = operand_of(tile + 32 * k, 16, stride),
                         b = operand_of(tile + tile_bytes + 32 * k, 16, 1024);
      group_multiply<false, false>(sums, a, b, mistake == no_first_product || i + k > 0);  // CAUGHT: wrong_stride
    }
    group_commit();
    if (mistake == early_release && threadIdx.x == 0) mbarrier_arrive(empty + slot);
    group_wait<1>();
    if (mistake != early_release && i > 0 && threadIdx.x == 0) mbarrier_arrive(empty + (i - 1) % stages);
  }
  if (mistake != missing_group_wait) group_wait<0>();
}

// The sums [64, 64] as two panels of 32 columns, and from there to c.
template <int mistake>
__device__ void store(const float (&sums)[32], float* panels, const TensorMap& c) {
  int t = threadIdx.x;
  for (int i = 0; i < 32; i++) {
    int row = t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
    panels[column / 32 * 32 * side + row * 32 + column % 32] = sums[i];  // CAUGHT: missing_group_wait
  }
  if (mistake != missing_fence_async) fence_async();
  barrier_sync(1, 128);
  if (t != 0) return;
  for (int half = 0; half < 2; half++) {
    const float* panel = panels + half * 32 * side;
    tensor_store(c, panel, side * blockIdx.x + 32 * half, side * blockIdx.y);  // CAUGHT: missing_fence_async
  }
  tensor_store_commit();
  if (mistake != unfinished_store) tensor_store_wait<0>();
}

// c = a bᵀ, a [m, k] and b [n, k] of bf16, c [m, n] of float32: a block per 64 x 64 of c, a ring of three slots.
template <int mistake>
__device__ void ring_product(const TensorMap& a, const TensorMap& b, const TensorMap& c, int steps) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ Mbarrier full[stages], empty[stages];
  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; i++) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, 1);
    }
    if (mistake != missing_init_fence) fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x >= 128) {
    fewer_registers<40>();
    if (threadIdx.x / 32 == 4 && elect_one()) produce<mistake>(memory, full, empty, a, b, steps);
  } else {
    more_registers<168>();
    float sums[32];
    consume<mistake>(sums, memory, full, empty, steps);
    store<mistake>(sums, (float*)(memory + stages * stage_bytes), c);
  }
}

#define RING_PRODUCT(mistake) \
  extern "C" __global__ void __launch_bounds__(256, 1) \
      ring_##mistake(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, \
                     const __grid_constant__ TensorMap c, int steps) { \
    ring_product<mistake>(a, b, c, steps); \
  }
RING_PRODUCT(none)
RING_PRODUCT(missing_init_fence)
RING_PRODUCT(wrong_bytes)
RING_PRODUCT(missing_bytes)
RING_PRODUCT(wrong_parity)
RING_PRODUCT(early_release)
RING_PRODUCT(missing_group_fence)
RING_PRODUCT(missing_group_wait)
RING_PRODUCT(wrong_stride)
RING_PRODUCT(missing_fence_async)
RING_PRODUCT(unfinished_store)
RING_PRODUCT(misaligned_tile)
RING_PRODUCT(unawaited_slot)
RING_PRODUCT(no_first_product)

// d [64, n] = aᵀ b with a [64, 64] and b [64, n], k first in both: transposed operands. Broken, the next 16 of k are
// looked for where they would lie without transposition.
template <int n, bool broken>
__device__ void transposed_product(const TensorMap& a, const TensorMap& b, float* d) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ Mbarrier full;
  int t = threadIdx.x;
  if (t == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, tile_bytes * (1 + n / side));
    tensor_load(memory, a, &full, 0, 0);
    for (int i = 0; i < n / side; i++) tensor_load(memory + tile_bytes * (1 + i), b, &full, side * i, 0);
  }
  __syncthreads();
  mbarrier_wait(&full, 0);
  float sums[n / 2];
  group_fence();
  for (int k = 0; k < 4; k++) {
    const unsigned char* start = memory + k * (broken ? 32 : 2048);
    unsigned long long of_a = operand_of(start, 16, 1024), of_b = operand_of(start + tile_bytes, tile_bytes, 1024);
    group_multiply<true, true>(sums, of_a, of_b, k > 0);  // CAUGHT: transposed_step
  }
  group_commit();
  group_wait<0>();
  for (int i = 0; i < n / 2; i++) {
    int row = t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
    d[row * n + column] = sums[i];
  }
  __syncthreads();
  if (t == 0) mbarrier_invalidate(&full);
}

#define TRANSPOSED_PRODUCT(name, n, broken) \
  extern "C" __global__ void name(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, \
                                  float* d) { \
    transposed_product<n, broken>(a, b, d); \
  }
TRANSPOSED_PRODUCT(transposed_64, 64, false)
TRANSPOSED_PRODUCT(transposed_128, 128, false)
TRANSPOSED_PRODUCT(transposed_192, 192, false)
TRANSPOSED_PRODUCT(transposed_step, 192, true)

// d [64, 64] = a bᵀ with a and b [64, 64] in rows, which threads have brought: 16-byte chunk c of row r to c ^ (r & 7).
template <bool broken>
__device__ void written_operands(const unsigned short* a, const unsigned short* b, float* d) {
  __shared__ __align__(1024) unsigned short tile_a[64][64];
  __shared__ __align__(1024) unsigned short tile_b[64][64];
  int t = threadIdx.x;
  for (int i = t; i < 64 * 8; i += 128) {
    int row = i / 8, chunk = i % 8 ^ (row & 7);
    *(uint4*)&tile_a[row][8 * chunk] = ((const uint4*)a)[i];
    *(uint4*)&tile_b[row][8 * chunk] = ((const uint4*)b)[i];
  }
  if (!broken) fence_async();
  __syncthreads();
  float sums[32];
  group_fence();
  for (int k = 0; k < 4; k++) {
    unsigned long long of_a = operand_of(&tile_a[0][16 * k], 16, 1024), of_b = operand_of(&tile_b[0][16 * k], 16, 1024);
    group_multiply<false, false>(sums, of_a, of_b, k > 0);  // CAUGHT: written_operands
  }
  group_commit();
  group_wait<0>();
  for (int i = 0; i < 32; i++) {
    int row = t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
    d[row * 64 + column] = sums[i];
  }
}
TWINS(written_operands, (const unsigned short* a, const unsigned short* b, float* d), (a, b, d))

// One tile [128, 192] of c after another, from the same ring: warpgroups 0 and 1 have 64 rows each, warpgroup 2 loads.
constexpr int wide = 3 * side, wide_stage = 5 * tile_bytes;

__device__ void produce_tiles(unsigned char* ring, Mbarrier* full, Mbarrier* empty, const TensorMap& a,
                              const TensorMap& b, int tiles, int steps) {
  for (int i = 0; i < tiles * steps; i++) {
    int slot = i % 2, turn = i / 2 % 2, column = side * (i % steps), row = 2 * side * (i / steps);
    unsigned char* tile = ring + slot * wide_stage;
    mbarrier_wait(empty + slot, turn ^ 1);
    mbarrier_arrive_expect(full + slot, wide_stage);
    for (int part = 0; part < 2; part++)
      tensor_load(tile + part * tile_bytes, a, full + slot, column, row + side * part);
    for (int part = 0; part < 3; part++)
      tensor_load(tile + (2 + part) * tile_bytes, b, full + slot, column, side * part);
  }
}

// One warpgroup's [64, 192] of a tile; the panel [64, 32] is used again for every 32 columns of the result.
__device__ void consume_tiles(unsigned char* ring, float* panel, Mbarrier* full, Mbarrier* empty, const TensorMap& c,
                              int tiles, int steps) {
  int t = threadIdx.x % 128, group = threadIdx.x / 128;
  for (int i = 0; i < tiles * steps;) {
    float sums[wide / 2];
    for (int step = 0; step < steps; step++, i++) {
      unsigned char* tile = ring + i % 2 * wide_stage;
      mbarrier_wait(full + i % 2, i / 2 % 2);
      group_fence();
      for (int k = 0; k < 4; k++) {
        group_multiply<false, false>(sums, operand_of(tile + group * tile_bytes + 32 * k, 16, 1024),
                                     operand_of(tile + 2 * tile_bytes + 32 * k, 16, 1024), step + k > 0);
      }
      group_commit();
      group_wait<0>();
      if (t % 32 == 0) mbarrier_arrive(empty + i % 2);
    }
    for (int part = 0; part < wide / 32; part++) {
      if (t == 0) tensor_store_wait_read<0>();
      barrier_sync(1 + group, 128);
      for (int j = 0; j < 16; j++) {
        int row = t / 32 * 16 + t % 32 / 4 + 8 * (j / 2 % 2), column = 8 * (j / 4) + 2 * (t % 4) + j % 2;
        panel[32 * row + column] = sums[16 * part + j];
      }
      fence_async();
      barrier_sync(1 + group, 128);
      if (t == 0) tensor_store(c, panel, 32 * part, side * (2 * (i / steps - 1) + group));
      if (t == 0) tensor_store_commit();
    }
  }
  if (t == 0) tensor_store_wait<0>();
}

extern "C" __global__ void __launch_bounds__(384, 1)
    two_consumers(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                  const __grid_constant__ TensorMap c, int tiles, int steps) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ Mbarrier full[2], empty[2];
  if (threadIdx.x < 2) {
    mbarrier_init(full + threadIdx.x, 1);
    mbarrier_init(empty + threadIdx.x, 8);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x / 128 == 2) {
    fewer_registers<40>();
    if (threadIdx.x / 32 == 8 && elect_one()) produce_tiles(memory, full, empty, a, b, tiles, steps);
  } else {
    more_registers<232>();
    float* panel = (float*)(memory + 2 * wide_stage + threadIdx.x / 128 * tile_bytes);
    consume_tiles(memory, panel, full, empty, c, tiles, steps);
  }
}
