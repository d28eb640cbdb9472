// One thread per element of C, operands straight from memory.
// lab: tile 16 16, threads 256
//
// C = A B', A [m, k], B [n, k], C [m, n]: each thread sums k products in order, in f32. Neighbouring threads share a row of A and
// read rows of B that lie k apart: nothing is reused but by the caches. The yardstick of all that follows.
#include "storage.cuh"

extern "C" __global__ void gemm(const real* a, const real* b, real* c, unsigned m, unsigned n, unsigned k) {
  unsigned columns = (n + 15) / 16;
  unsigned row = blockIdx.x / columns * 16 + threadIdx.x / 16, column = blockIdx.x % columns * 16 + threadIdx.x % 16;
  if (row >= m || column >= n) return;
  float sum = 0.0f;
  for (unsigned i = 0; i < k; i++) sum = fmaf(load(a, row * (size_t)k + i), load(b, column * (size_t)k + i), sum);
  store(c, row * (size_t)n + column, sum);
}
