// y = y + rate (p - y), y being the average.
//
// Mapping: one thread per four elements. Bytes per element: 2 reals read, 1 written.
// Tolerance: one rounding per operation.
#include "four.cuh"

extern "C" __global__ void update(real* y, const real* p, float rate, size_t count) {
  size_t i = 4 * thread_index();
  if (i >= count) return;
  Four average = load_four(y, i, count), params = load_four(p, i, count);
  for (int k = 0; k < 4; k++) average.at[k] += rate * (params.at[k] - average.at[k]);
  store_four(y, i, count, average);
}
