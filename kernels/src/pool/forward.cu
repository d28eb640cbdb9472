// y = sum of `tokens` tokens from `first` on / tokens, per sample and column.
//
// Mapping: a block of 32 x 8 threads per sample and 32 columns. Bytes per element of y: 1 real read per token, 1 written.
// Order: columns.cuh. Tolerance: tokens / 8 + 8 roundings; one token is copied.
#include "columns.cuh"

extern "C" __global__ void forward(const real* x, real* y, size_t n, size_t d, size_t first, size_t tokens) {
  size_t blocks = (d + 31) / 32, sample = blockIdx.x / blocks;
  const real* begin = x + (sample * n + first) * d;
  sum_columns(begin, tokens, d, blockIdx.x - sample * blocks, d,
              [=](size_t column, float sum) { store(y, sample * d + column, sum / (float)tokens); });
}
