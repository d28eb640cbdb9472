// Sums over the rows of a matrix, column by column, in a fixed order. Blocks of 256 threads, as 32 columns times 8.
#pragma once
#include "storage.cuh"

// Calls done(column, sum) once for each column of block `block` of 32, as far as there are `columns`; sum is that of
// x[row stride + column] over `rows` rows. A thread adds every eighth row, in order; then the eight sums are added in order.
// Adding starts at -0, so that the sum of one row is that row, -0 too. All threads of the block must call, and only once.
template <class Done>
__device__ __forceinline__ void sum_columns(const real* x, size_t rows, size_t stride, size_t block, size_t columns,
                                            Done done) {
  __shared__ float sums[8][32];
  unsigned lane = threadIdx.x % 32, part = threadIdx.x / 32;
  size_t column = block * 32 + lane;
  float sum = -0.0f;
  if (column < columns)
#pragma unroll 4
    for (size_t row = part; row < rows; row += 8) sum += load(x, row * stride + column);
  sums[part][lane] = sum;
  __syncthreads();
  if (part > 0 || column >= columns) return;
  float total = -0.0f;
  for (int k = 0; k < 8; k++) total += sums[k][lane];
  done(column, total);
}
