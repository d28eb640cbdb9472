// y = -log(e^-a + e^-b) = min(a, b) - log(1 + e^-|a - b|), in double.
//
// Mapping: one thread per element. Bytes per element: 2 reals read, 1 written. Tolerance: one rounding.
#include "storage.cuh"

extern "C" __global__ void forward(const real* a, const real* b, real* y, size_t count) {
  size_t i = thread_index();
  if (i >= count) return;
  double left = load(a, i), right = load(b, i);
  // Equal infinities have no difference.
  double gap = left == right ? 0.0 : fabs(left - right);
  store(y, i, (float)((right < left ? right : left) - log1p(exp(-gap))));
}
