// d own = dy / (1 + e^(own - other)), written or added, in double.
//
// Mapping: one thread per element. Bytes per element: 3 reals read (4 where it adds), 1 written. Tolerance: one rounding,
// two where it adds.
#include "storage.cuh"

extern "C" __global__ void backward(const real* own, const real* other, const real* dy, real* d, size_t count,
                                    bool add) {
  size_t i = thread_index();
  if (i >= count) return;
  double left = load(own, i), right = load(other, i);
  double gap = left == right ? 0.0 : left - right;
  put(d, i, (float)(load(dy, i) / (1.0 + exp(gap))), add);
}
