// y = x + f, or x + gamma f with one gamma per column (LayerScale).
//
// Mapping: one thread per element. Bytes per element: 2 reals read, 1 written; gamma stays in the cache.
// Tolerance: one rounding per operation.
#include "storage.cuh"

extern "C" __global__ void forward(const real* x, const real* f, const real* gamma, real* y, size_t count,
                                   size_t width) {
  size_t i = thread_index();
  if (i >= count) return;
  float branch = load(f, i);
  if (gamma) branch *= load(gamma, i % width);
  store(y, i, load(x, i) + branch);
}
