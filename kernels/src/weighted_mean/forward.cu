// y = sum(w v) / sum(w), or sum(w v).
//
// Mapping: one block of 256 threads. Bytes per element: 2 reals read. Order: thread t adds elements t, t + 256, ... in
// order, then reduce.cuh. Sums in double: a batch of numbers costs nothing. Tolerance: one rounding.
#include "reduce.cuh"
#include "storage.cuh"

extern "C" __global__ void forward(const real* v, const real* w, real* y, size_t count, bool mean) {
  __shared__ double parts[8];
  double sum = 0.0, weights = 0.0;
  for (size_t i = threadIdx.x; i < count; i += 256) {
    sum = fma((double)load(w, i), (double)load(v, i), sum);
    weights += load(w, i);
  }
  sum = block_sum(sum, parts);
  if (mean) sum /= block_sum(weights, parts);
  if (threadIdx.x == 0) store(y, 0, (float)sum);
}
