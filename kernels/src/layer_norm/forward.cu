// y = xhat weight + bias, xhat = (x - mean) rstd, rstd = 1 / sqrt(mean square of (x - mean) + eps), row by row; mean and rstd
// of each row, where they are kept.
//
// Mapping: one warp per row of up to 1024 columns, which stays in its registers (row_parts.cuh); one block per wider row,
// which is read three times, twice from the nearest cache. Bytes per element: 1 real read, 1 written; weight and bias stay
// in the cache. Order: a lane's (thread's) elements, then a tree over the lanes, then warps in order.
// Tolerance: 4 ulp of the largest |xhat weight| + |bias|, whatever the mean: it is subtracted before squaring.
#include "reduce.cuh"
#include "row_parts.cuh"

template <bool quads, int parts>
__device__ __forceinline__ void in_registers(const real* x, const real* weight, const real* bias, real* y,
                                             float* mean_of, float* rstd_of, size_t rows, unsigned width, float eps) {
  unsigned lane = threadIdx.x % 32;
  size_t row = blockIdx.x * (size_t)(blockDim.x / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  float4 v[parts];
  float sum = 0.0f;
#pragma unroll
  for (int k = 0; k < parts; k++) v[k] = Part<quads>(k, lane, width).read(x + row * width);
#pragma unroll
  for (int k = 0; k < parts; k++) sum += sum_of(v[k]);
  float mean = warp_sum(sum) / (float)width;
  float squares = 0.0f;
#pragma unroll
  for (int k = 0; k < parts; k++) {
    Part<quads> part(k, lane, width);
    float4 centred = normalised(v[k], mean, 1.0f);
    // Columns outside of the row hold no 0 any more.
    if (part.has(0)) squares = fmaf(centred.x, centred.x, squares);
    if (part.has(1)) squares = fmaf(centred.y, centred.y, squares);
    if (part.has(2)) squares = fmaf(centred.z, centred.z, squares);
    if (part.has(3)) squares = fmaf(centred.w, centred.w, squares);
  }
  float rstd = 1.0f / sqrtf(warp_sum(squares) / (float)width + eps);
#pragma unroll
  for (int k = 0; k < parts; k++) {
    Part<quads> part(k, lane, width);
    float4 xhat = normalised(v[k], mean, rstd);
    part.write(y + row * width, times_plus(xhat, part.read(weight), part.read(bias)), false);
  }
  if (mean_of && lane == 0) {
    mean_of[row] = mean;
    rstd_of[row] = rstd;
  }
}

// So many blocks per processor that no registers spill.
#define ROWS(name, quads, parts) \
  extern "C" __global__ void __launch_bounds__(256, parts < 6 ? 4 : parts < 8 ? 3 : 2) \
      name(const real* x, const real* weight, const real* bias, real* y, float* mean_of, float* rstd_of, size_t rows, \
           unsigned width, float eps) { \
    in_registers<quads, parts>(x, weight, bias, y, mean_of, rstd_of, rows, width, eps); \
  }
ROWS(quads_2, true, 2)
ROWS(quads_3, true, 3)
ROWS(quads_6, true, 6)
ROWS(quads_8, true, 8)
ROWS(ones_2, false, 2)
ROWS(ones_8, false, 8)

extern "C" __global__ void wide(const real* x, const real* weight, const real* bias, real* y, float* mean_of,
                                float* rstd_of, size_t rows, unsigned width, float eps) {
  __shared__ float warps[32];
  size_t row = blockIdx.x;
  x += row * width;
  y += row * width;
  float sum = 0.0f;
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) sum += load(x, column);
  float mean = block_sum(sum, warps) / (float)width;
  float squares = 0.0f;
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x) {
    float centred = load(x, column) - mean;
    squares = fmaf(centred, centred, squares);
  }
  float rstd = 1.0f / sqrtf(block_sum(squares, warps) / (float)width + eps);
  for (unsigned column = threadIdx.x; column < width; column += blockDim.x)
    store(y, column, fmaf((load(x, column) - mean) * rstd, load(weight, column), load(bias, column)));
  if (mean_of && threadIdx.x == 0) {
    mean_of[row] = mean;
    rstd_of[row] = rstd;
  }
}
