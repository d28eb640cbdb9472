// Healthy kernels of the kinds that the project is made of.
#include "ptx.cuh"

extern "C" __global__ void vector_add(const float* x, const float* y, float* z, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) z[i] = x[i] + y[i];
}

__device__ float warp_sum(float v) {
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffff, v, step);
  return v;
}

// y[row] = sum of x[row, ..]: one block per row, warps by shuffles, then one warp over the warps' sums. x: [rows, n]
extern "C" __global__ void __launch_bounds__(256) row_sum(const float* x, float* y, int n) {
  __shared__ float part[8];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float v = 0.0f;
  for (int i = threadIdx.x; i < n; i += blockDim.x) v += x[(size_t)blockIdx.x * n + i];
  v = warp_sum(v);
  if (lane == 0) part[warp] = v;
  __syncthreads();
  if (warp == 0) {
    v = warp_sum(lane < 8 ? part[lane] : 0.0f);
    if (lane == 0) y[blockIdx.x] = v;
  }
}

// c = a b in float32 with tiles of 16 x 16 and any m, n, k. a: [m, k], b: [k, n], c: [m, n]
template <int tile>
__global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) {
  __shared__ float tile_a[tile][tile + 1], tile_b[tile][tile + 1];
  int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * tile + y, column = blockIdx.x * tile + x;
  float sum = 0.0f;
  for (int base = 0; base < k; base += tile) {
    tile_a[y][x] = row < m && base + x < k ? a[row * k + base + x] : 0.0f;
    tile_b[y][x] = base + y < k && column < n ? b[(base + y) * n + column] : 0.0f;
    __syncthreads();
    for (int i = 0; i < tile; i++) sum += tile_a[y][i] * tile_b[i][x];
    __syncthreads();
  }
  if (row < m && column < n) c[row * n + column] = sum;
}

// c = a bᵀ on tensor cores: bf16 operands, float32 sums, tiles of 64 x 64 x 32 in two stages, 4 warps of 32 x 32 each.
// Rows of a tile are 4 chunks of 16 bytes; chunk j of row r lies at chunk j ^ (r / 2 % 4), so that ldmatrix meets no
// bank conflict. a: [m, k], b: [n, k], c: [m, n]; k a multiple of 8, m and n any.
constexpr int tile_k = 32, tile_mn = 64;

struct Tiles {
  unsigned short a[2][tile_mn][tile_k], b[2][tile_mn][tile_k];
};

__device__ unsigned short* swizzled(unsigned short (&tile)[tile_mn][tile_k], int row, int chunk) {
  return &tile[row][8 * (chunk ^ (row / 2 % 4))];
}

__device__ void fetch(unsigned short (&tile)[tile_mn][tile_k], const unsigned short* x, int first, int rows, int base,
                      int k) {
  for (int i = threadIdx.x; i < tile_mn * 4; i += 128) {
    int row = i / 4, chunk = i % 4;
    bool inside = first + row < rows && base + 8 * chunk < k;
    copy_async_16_or_zero(swizzled(tile, row, chunk), inside ? x + (size_t)(first + row) * k + base + 8 * chunk : x,
                          inside);
  }
}

extern "C" __global__ void __launch_bounds__(128)
    gemm_bf16(const unsigned short* a, const unsigned short* b, float* c, int m, int n, int k) {
  extern __shared__ __align__(16) unsigned char memory[];
  Tiles& tiles = *reinterpret_cast<Tiles*>(memory);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, m0 = blockIdx.y * tile_mn, n0 = blockIdx.x * tile_mn;
  int row0 = warp / 2 * 32, column0 = warp % 2 * 32;
  float sum[2][4][4] = {};
  fetch(tiles.a[0], a, m0, m, 0, k);
  fetch(tiles.b[0], b, n0, n, 0, k);
  copy_async_commit();
  for (int base = 0, stage = 0; base < k; base += tile_k, stage ^= 1) {
    if (base + tile_k < k) {
      fetch(tiles.a[stage ^ 1], a, m0, m, base + tile_k, k);
      fetch(tiles.b[stage ^ 1], b, n0, n, base + tile_k, k);
    }
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    for (int step = 0; step < 2; step++) {
      unsigned part_a[2][4], part_b[4][2];
      for (int i = 0; i < 2; i++)
        load_matrix_x4(part_a[i], swizzled(tiles.a[stage], row0 + 16 * i + lane % 16, 2 * step + lane / 16));
      for (int j = 0; j < 4; j++)
        load_matrix_x2(part_b[j], swizzled(tiles.b[stage], column0 + 8 * j + lane % 8, 2 * step + lane / 8 % 2));
      for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 4; j++) multiply_bf16(sum[i][j], part_a[i], part_b[j]);
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < 2; i++) {
    for (int j = 0; j < 4; j++) {
      for (int e = 0; e < 4; e++) {
        int row = m0 + row0 + 16 * i + lane / 4 + 8 * (e / 2), column = n0 + column0 + 8 * j + 2 * (lane % 4) + e % 2;
        if (row < m && column < n) c[(size_t)row * n + column] = sum[i][j][e];
      }
    }
  }
}

// A step whose number lies on the device: x += step; step += 1. One block.
extern "C" __global__ void counted_step(float* x, int* step, int n) {
  int now = *step;
  for (int i = threadIdx.x; i < n; i += blockDim.x) x[i] += (float)now;
  __syncthreads();
  if (threadIdx.x == 0) *step = now + 1;
}

// Histogram with atomics on shared and global memory. bins: [16], zeroed by the caller.
extern "C" __global__ void histogram(const unsigned char* x, unsigned* bins, float* mass, int n) {
  __shared__ unsigned local[16];
  if (threadIdx.x < 16) local[threadIdx.x] = 0;
  __syncthreads();
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    atomicAdd(&local[x[i] % 16], 1u);
    atomicAdd(mass, (float)x[i]);
  }
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}
