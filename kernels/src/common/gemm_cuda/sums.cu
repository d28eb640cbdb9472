// Sums over the rows of a matrix, in two passes: the gradient of a bias, and the sums of a divided product.
//
// `part`: blocks of 32 columns x 8 threads; each thread adds every eighth row of its part of the rows in order, then the
// eight are added in order. `total`: one thread per column adds the parts in order.
// Bytes per element: 1 real read. Tolerance: sums of rows / (8 parts), 8, and parts terms.
#include "storage.cuh"

// sums[part, column] = sum of x over `block` rows.
extern "C" __global__ void part(const real* x, float* sums, size_t rows, size_t width, size_t block) {
  __shared__ float lanes[8][32];
  unsigned lane = threadIdx.x % 32, eighth = threadIdx.x / 32;
  size_t column = blockIdx.x * (size_t)32 + lane;
  size_t first = blockIdx.y * block, end = min(rows, first + block);
  float sum = 0.0f;
  if (column < width)
    for (size_t row = first + eighth; row < end; row += 8) sum += load(x, row * width + column);
  lanes[eighth][lane] = sum;
  __syncthreads();
  if (eighth > 0 || column >= width) return;
  float total = 0.0f;
  for (int k = 0; k < 8; k++) total += lanes[k][lane];
  sums[blockIdx.y * width + column] = total;
}

extern "C" __global__ void total(const float* sums, real* out, size_t parts, size_t width, bool add) {
  size_t column = thread_index();
  if (column >= width) return;
  float sum = 0.0f;
  for (size_t part = 0; part < parts; part++) sum += sums[part * width + column];
  put(out, column, sum, add);
}
