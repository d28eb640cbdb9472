// Proofs about asynchronous copies and tensor cores.
#include "ptx.cuh"
#include "twins.cuh"

// y = x through shared memory by cp.async.
template <bool broken>
__device__ void missing_copy_wait(const float* x, float* y) {
  __shared__ __align__(16) float tile[256];
  int i = 4 * threadIdx.x;
  copy_async_16(tile + i, x + i);
  copy_async_commit();
  if (!broken) copy_async_wait<0>();
  __syncthreads();
  y[threadIdx.x] = tile[255 - threadIdx.x];  // CAUGHT: missing_copy_wait
  copy_async_wait_all();
}
TWINS(missing_copy_wait, (const float* x, float* y), (x, y))

// Two groups are under way, and the newer one is used.
template <bool broken>
__device__ void wrong_wait_count(const float* x, float* y) {
  __shared__ __align__(16) float tile[2][256];
  int i = 4 * threadIdx.x;
  for (int stage = 0; stage < 2; stage++) {
    copy_async_16(tile[stage] + i, x + 256 * stage + i);
    copy_async_commit();
  }
  if (broken) {
    copy_async_wait<1>();
  } else {
    copy_async_wait<0>();
  }
  y[threadIdx.x] = tile[1][i];  // CAUGHT: wrong_wait_count
  copy_async_wait_all();
}
TWINS(wrong_wait_count, (const float* x, float* y), (x, y))

// The wait makes a copy visible to its own thread only.
template <bool broken>
__device__ void wait_without_barrier(const float* x, float* y) {
  __shared__ __align__(16) float tile[256];
  int i = 4 * threadIdx.x;
  copy_async_16(tile + i, x + i);
  copy_async_commit();
  copy_async_wait<0>();
  if (!broken) __syncthreads();
  y[threadIdx.x] = tile[255 - threadIdx.x];  // CAUGHT: wait_without_barrier
}
TWINS(wait_without_barrier, (const float* x, float* y), (x, y))

// A copy into a tile that other threads still read: harmless if it lands late.
template <bool broken>
__device__ void copy_too_early(const float* x, float* y) {
  __shared__ __align__(16) float tile[256];
  int i = 4 * threadIdx.x;
  float sum = 0.0f;
  for (int k = 0; k < 2; k++) {
    copy_async_16(tile + i, x + 256 * k + i);  // CAUGHT: copy_too_early
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    sum += tile[255 - threadIdx.x];
    if (!broken) __syncthreads();
  }
  y[threadIdx.x] = sum;
}
TWINS(copy_too_early, (const float* x, float* y), (x, y))

// A prefetch that nobody waits for.
template <bool broken>
__device__ void copy_at_exit(const float* x, float* y) {
  __shared__ __align__(16) float tile[256];
  int i = 4 * threadIdx.x;
  copy_async_16(tile + i, x + i);  // CAUGHT: copy_at_exit
  copy_async_commit();
  if (!broken) copy_async_wait<0>();
  y[threadIdx.x] = x[threadIdx.x];
}
TWINS(copy_at_exit, (const float* x, float* y), (x, y))

// One warp multiplies a [16, 64] by b [64, 8] (both bf16; b given as its transpose) from tiles whose 16-byte chunks are
// swizzled: chunk c of row r lies at chunk c ^ (r & 7). Broken, the reader forgets half of the rows' bits.
template <bool broken>
__device__ void wrong_swizzle(const unsigned short* a, const unsigned short* b, float* d) {
  __shared__ __align__(16) unsigned short tile_a[16][64];
  __shared__ __align__(16) unsigned short tile_b[8][64];
  int lane = threadIdx.x;
  for (int i = lane; i < 16 * 8; i += 32) {
    int row = i / 8, chunk = i % 8;
    copy_async_16(&tile_a[row][8 * (chunk ^ (row & 7))], a + 64 * row + 8 * chunk);
    if (row < 8) copy_async_16(&tile_b[row][8 * (chunk ^ row)], b + 64 * row + 8 * chunk);
  }
  copy_async_wait_all();
  __syncwarp();
  float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int k = 0; k < 8; k += 2) {
    unsigned part_a[4], part_b[2];
    int row = lane % 16, chunk = k + lane / 16;
    load_matrix_x4(part_a, &tile_a[row][8 * (chunk ^ (row & (broken ? 3 : 7)))]);
    load_matrix_x2(part_b, &tile_b[lane % 8][8 * ((k + lane / 8 % 2) ^ lane % 8)]);
    multiply_bf16(sum, part_a, part_b);
  }
  int g = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; i++) d[8 * (g + 8 * (i / 2)) + 2 * t + i % 2] = sum[i];
}
TWINS(wrong_swizzle, (const unsigned short* a, const unsigned short* b, float* d), (a, b, d))

// Rows padded to 65 halfwords: no bank conflicts, and no alignment either.
template <bool broken>
__device__ void misaligned_matrix(const unsigned short* a, unsigned* out) {
  constexpr int stride = broken ? 65 : 72;
  __shared__ __align__(16) unsigned short tile[16 * stride];
  int lane = threadIdx.x;
  for (int i = lane; i < 16 * 64; i += 32) tile[i / 64 * stride + i % 64] = a[i];
  __syncwarp();
  unsigned part[4];
  load_matrix_x4(part, tile + lane % 16 * stride + lane / 16 * 8);  // CAUGHT: misaligned_matrix
  for (int i = 0; i < 4; i++) out[4 * lane + i] = part[i];
}
TWINS(misaligned_matrix, (const unsigned short* a, unsigned* out), (a, out))

// Products of the other operand types, and transposed loads. One warp; a is [16, 16] of halves in rows, b [16, 8] in
// rows.
extern "C" __global__ void multiply_half(const unsigned short* a, const unsigned short* b, float* d) {
  __shared__ __align__(16) unsigned short tile_a[16][16];
  __shared__ __align__(16) unsigned short tile_b[16][8];
  int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  copy_async_16(&tile_a[lane / 2][8 * (lane % 2)], a + 8 * lane);
  copy_async_8(&tile_b[lane / 2][4 * (lane % 2)], b + 4 * lane);
  copy_async_wait_all();
  __syncwarp();
  float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  unsigned part_a[4], part_b[2];
  load_matrix_x4(part_a, &tile_a[lane % 16][8 * (lane / 16)]);
  load_matrix_x2_transposed(part_b, &tile_b[lane % 16][0]);
  multiply_f16(sum, part_a, part_b);
  for (int i = 0; i < 4; i++) d[8 * (g + 8 * (i / 2)) + 2 * t + i % 2] = sum[i];
}

// a is [16, 8], b [8, 8], both float32 in rows.
extern "C" __global__ void multiply_single(const float* a, const float* b, float* d) {
  int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  unsigned part_a[4], part_b[2];
  for (int i = 0; i < 4; i++) part_a[i] = round_to_tf32(a[8 * (g + 8 * (i % 2)) + t + 4 * (i / 2)]);
  for (int i = 0; i < 2; i++) part_b[i] = round_to_tf32(b[8 * (t + 4 * i) + g]);
  multiply_tf32(sum, part_a, part_b);
  for (int i = 0; i < 4; i++) d[8 * (g + 8 * (i / 2)) + 2 * t + i % 2] = sum[i];
}
