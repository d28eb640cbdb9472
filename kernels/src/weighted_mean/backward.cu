// dv_i = dy w_i / sum(w), or dy w_i; written or added.
//
// Mapping: one block of 256 threads. Bytes per element: 2 reals read (3 where it adds), 1 written. Order of the sum: as
// forward. Tolerance: one rounding, two where it adds.
#include "reduce.cuh"
#include "storage.cuh"

extern "C" __global__ void backward(const real* w, const real* dy, real* dv, size_t count, bool mean, bool add) {
  __shared__ double parts[8];
  double factor = load(dy, 0);
  if (mean) {
    double weights = 0.0;
    for (size_t i = threadIdx.x; i < count; i += 256) weights += load(w, i);
    factor /= block_sum(weights, parts);
  }
  for (size_t i = threadIdx.x; i < count; i += 256) put(dv, i, (float)(factor * load(w, i)), add);
}
