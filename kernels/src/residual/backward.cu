// df = gamma dy, and dgamma[c] = sum over rows of dy[r, c] f[r, c], of y = x + gamma f.
//
// Mapping: `branch` one thread per element; `gamma` one block of 32 x 8 threads per 32 columns: a thread adds every eighth
// row of its column in order, then eight partial sums are added in order. Bytes per element: `branch` 1 real read and
// 1 written, `gamma` 2 read. Tolerance: sums of `rows` products.
#include "storage.cuh"

extern "C" __global__ void branch(const real* dy, const real* gamma, real* df, size_t count, size_t width, bool add) {
  size_t i = thread_index();
  if (i >= count) return;
  put(df, i, load(gamma, i % width) * load(dy, i), add);
}

extern "C" __global__ void gamma(const real* dy, const real* f, real* dgamma, size_t rows, size_t width, bool add) {
  __shared__ float sums[8][32];
  unsigned lane = threadIdx.x % 32, part = threadIdx.x / 32;
  size_t column = blockIdx.x * (size_t)32 + lane;
  float sum = 0.0f;
  if (column < width)
    for (size_t row = part; row < rows; row += 8) {
      size_t i = row * width + column;
      sum = fmaf(load(dy, i), load(f, i), sum);
    }
  sums[part][lane] = sum;
  __syncthreads();
  if (part > 0 || column >= width) return;
  float total = 0.0f;
  for (int k = 0; k < 8; k++) total += sums[k][lane];
  put(dgamma, column, total, add);
}
