// Proofs about sm_90, as attention uses it: maps of four dimensions, operands in registers, stmatrix, other swizzles,
// registers that warpgroups hand over.
#include "ptx90.cuh"
#include "twins.cuh"

enum Mistake {
  none,
  unfenced_fragment,
  rewritten_fragment,
  early_fragment,
  wrong_rank,
  not_transposed,
  misaligned_store,
  plain_store,
  greedy_registers,
  unequal_registers,
};

constexpr int keys = 80, row_bytes = 128, tile_bytes = keys * row_bytes;

// o = s v with s = q kᵀ rounded to bf16, for one head of one image: 80 rows of each, of which those behind the
// last position are zero, and the first 64 of q are used.
template <int mistake>
__device__ void head(unsigned char* memory, float (&sums)[32]) {
  unsigned char *q = memory, *k = q + tile_bytes, *v = k + tile_bytes;
  float scores[keys / 2];
  group_fence();
  for (int step = 0; step < 4; step++) {
    group_multiply<false, false>(scores, operand_of(q + 32 * step, 16, 1024), operand_of(k + 32 * step, 16, 1024),
                                 step > 0);
  }
  group_commit();
  group_wait<0>();
  unsigned fragments[keys / 16][4];
  for (int step = 0; step < keys / 16; step++) {
    for (int i = 0; i < 4; i++) fragments[step][i] = bf16_pair(scores[8 * step + 2 * i], scores[8 * step + 2 * i + 1]);
    if (mistake == early_fragment && step == 0) group_fence();
  }
  if (mistake != unfenced_fragment && mistake != early_fragment) group_fence();
  for (int step = 0; step < keys / 16; step++) {
    group_multiply<mistake != not_transposed>(sums, fragments[step], operand_of(v + 2048 * step, 16, 1024), step > 0);
  }
  group_commit();
  if (mistake == rewritten_fragment) fragments[1][0] = 0;  // CAUGHT: rewritten_fragment
  group_wait<0>();
  group_keep(fragments);
  group_settle(sums);
}

// The sums as bf16 rows of 128 bytes in their swizzle.
template <int mistake>
__device__ void stage(unsigned char* tile, const float (&sums)[32]) {
  int t = threadIdx.x, lane = t % 32, row = t / 32 * 16 + lane % 16;
  for (int i = 0; i < 4; i++) {
    unsigned halves[4];
    for (int j = 0; j < 4; j++) halves[j] = bf16_pair(sums[8 * i + 2 * j], sums[8 * i + 2 * j + 1]);
    int chunk = 2 * i + lane / 16;
    unsigned char* at = tile + row * row_bytes + 16 * (chunk ^ row % 8) + (mistake == misaligned_store ? 8 : 0);
    if (mistake == plain_store) {
      store_matrix_x4_transposed(at, halves);
    } else {
      store_matrix_x4(at, halves);  // CAUGHT: misaligned_store
    }
  }
}

template <int mistake>
__device__ void heads(const TensorMap& qkv, const TensorMap& out) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ Mbarrier full;
  int t = threadIdx.x, h = blockIdx.x, image = blockIdx.y;
  if (t == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, 3 * tile_bytes);
    for (int part = 0; part < 3; part++) {
      unsigned char* tile = memory + part * tile_bytes;
      if (mistake == wrong_rank) {
        tensor_load(tile, qkv, &full, 0, 0, h + 2 * part);  // CAUGHT: wrong_rank
      } else {
        tensor_load(tile, qkv, &full, 0, 0, h + 2 * part, image);
      }
    }
  }
  __syncthreads();
  mbarrier_wait(&full, 0);
  float sums[32];
  head<mistake>(memory, sums);
  __syncthreads();
  stage<mistake>(memory, sums);
  fence_async();
  __syncthreads();
  if (t != 0) return;
  tensor_store(out, memory, 0, 0, h, image);
  tensor_store_commit();
  tensor_store_wait<0>();
}

#define HEADS(mistake) \
  extern "C" __global__ void __launch_bounds__(128) \
      heads_##mistake(const __grid_constant__ TensorMap qkv, const __grid_constant__ TensorMap out) { \
    heads<mistake>(qkv, out); \
  }
HEADS(none)
HEADS(unfenced_fragment)
HEADS(rewritten_fragment)
HEADS(early_fragment)
HEADS(wrong_rank)
HEADS(not_transposed)
HEADS(misaligned_store)
HEADS(plain_store)

// d [64, n] = a bᵀ with a [64, k] and b [n, k]; or, transposed, a [k, 64] and b [k, n]. Rows of tiles are `swizzle`
// bytes: not transposed k is one of them, transposed it is 16 and a and b are several.
template <int n, int swizzle, bool transposed, bool broken>
__device__ void product(const TensorMap& a, const TensorMap& b, float* d) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ Mbarrier full;
  constexpr int across = swizzle / 2, steps = transposed ? 1 : across / 16, depth = transposed ? 16 : across;
  // By rows of the tile (k, or a and b), each `swizzle` bytes; a transposed operand has several tiles side by side.
  constexpr int panels_a = transposed ? 64 / across : 1, panels_b = transposed ? n / across : 1;
  constexpr int bytes_a = 64 * depth * 2, bytes_b = n * depth * 2, panel = 16 * swizzle;
  unsigned char *tile_a = memory, *tile_b = memory + bytes_a;
  int t = threadIdx.x;
  if (t == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, bytes_a + bytes_b);
    for (int i = 0; i < panels_a; i++) tensor_load(tile_a + i * panel, a, &full, i * across, 0);
    for (int i = 0; i < panels_b; i++) tensor_load(tile_b + i * panel, b, &full, i * across, 0);
  }
  __syncthreads();
  mbarrier_wait(&full, 0);
  float sums[n / 2];
  constexpr int described = broken ? (swizzle == 128 ? 64 : 128) : swizzle;
  group_fence();
  for (int step = 0; step < steps; step++) {
    unsigned long long of_a = operand_of<swizzle>(tile_a + 32 * step, panel, 8 * swizzle),
                       of_b = operand_of<described>(tile_b + 32 * step, panel, 8 * swizzle);
    group_multiply<transposed, transposed>(sums, of_a, of_b, step > 0);
  }
  group_commit();
  group_wait<0>();
  for (int i = 0; i < n / 2; i++) {
    int row = t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
    d[row * n + column] = sums[i];
  }
}

#define PRODUCT(name, n, swizzle, transposed) \
  extern "C" __global__ void name##_healthy(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, \
                                            float* d) { \
    product<n, swizzle, transposed, false>(a, b, d); \
  } \
  extern "C" __global__ void name##_broken(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, \
                                           float* d) { \
    product<n, swizzle, transposed, true>(a, b, d); \
  }
PRODUCT(swizzle_128, 208, 128, false)
PRODUCT(swizzle_64, 256, 64, false)
PRODUCT(swizzle_32, 80, 32, false)
PRODUCT(columns_128, 64, 128, true)
PRODUCT(columns_64, 96, 64, true)
PRODUCT(columns_32, 48, 32, true)

// y [64, 32] = x and z = the sum of y's rows, by the thread that stores y: broken, it has only waited until the tile was
// read. Then the tile is used again, for y2 = 2 x.
template <bool broken>
__device__ void read_back(const TensorMap& x, const TensorMap& y, const TensorMap& y2, const float* stored, float* z) {
  __shared__ __align__(128) float tile[64][32];
  __shared__ Mbarrier full;
  int t = threadIdx.x;
  if (t == 0) {
    mbarrier_init(&full, 1);
    fence_mbarrier_init();
    mbarrier_arrive_expect(&full, sizeof tile);
    tensor_load(tile, x, &full, 0, 0);
  }
  __syncthreads();
  mbarrier_wait(&full, 0);
  if (t == 0) {
    tensor_store(y, tile, 0, 0);
    tensor_store_commit();
    if (broken) tensor_store_wait_read<0>();
    if (!broken) tensor_store_wait<0>();
    float sum = 0.0f;
    for (int i = 0; i < 64; i++) sum += stored[32 * i];  // CAUGHT: read_back
    *z = sum;
  }
  __syncthreads();
  for (int i = t; i < 64 * 32; i += 128) tile[i / 32][i % 32] *= 2.0f;
  fence_async();
  __syncthreads();
  if (t != 0) return;
  tensor_store(y2, tile, 0, 0);
  tensor_store_commit();
  tensor_store_wait_read<0>();
}
#define READ_BACK(name, broken) \
  extern "C" __global__ void name(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap y, \
                                  const __grid_constant__ TensorMap y2, const float* stored, float* z) { \
    read_back<broken>(x, y, y2, stored, z); \
  }
READ_BACK(read_back_healthy, false)
READ_BACK(read_back_broken, true)

// Three warpgroups share what 384 threads have: 168 registers each.
template <int mistake>
__device__ void share_registers(int* out) {
  if (threadIdx.x >= 256) {
    if (mistake != unequal_registers || threadIdx.x < 352) fewer_registers<24>();
  } else {
    more_registers<mistake == greedy_registers ? 248 : 240>();
  }
  out[threadIdx.x] = (int)threadIdx.x;
}
#define SHARE_REGISTERS(mistake) \
  extern "C" __global__ void __launch_bounds__(384, 1) registers_##mistake(int* out) { share_registers<mistake>(out); }
SHARE_REGISTERS(none)
SHARE_REGISTERS(greedy_registers)
SHARE_REGISTERS(unequal_registers)
