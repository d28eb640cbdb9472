// dx = dy in q and k, written or added; zeros in v, or nothing added.
//
// Mapping: four elements per thread, single ones where q, k and v are no multiples of four wide. Bytes per element: 1 real
// read (2 where it adds; none in v), 1 written. Tolerance: exact, or one rounding where it adds.
#include "lanes.cuh"

extern "C" __global__ void backward(const real* dy, real* dx, size_t count, size_t w, bool add) {
  each_within_rows(count, w, [=](size_t i, Pack v) {
    if (i % (3 * w) < 2 * w) {
      fetch(v, dy, i);
      put(dx, i, v, add);
    } else if (!add) {
      keep(dx, i, pack(v.lanes, 0.0f));
    }
  });
}
