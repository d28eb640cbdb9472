// dx = act'(x) dy, written or added.
//
// Mapping: four elements per thread. Bytes per element: 2 reals read (3 where it adds), 1 written.
// Tolerance: GELU within 3e-7 of |dy|, ReLU exact.
#include "lanes.cuh"
#include "math.cuh"

extern "C" __global__ void backward(const real* x, const real* dy, real* dx, size_t count, int activation, bool add) {
  each(count, [=](size_t i, Pack v) {
    Pack d = v;
    fetch(v, x, i);
    fetch(d, dy, i);
    for (int k = 0; k < 4; k++) {
      float slope = activated(activation, v.at[k]).slope;
      // Selected, not multiplied: an infinite dy gives 0 where x is negative.
      d.at[k] = activation == relu ? (slope > 0.0f ? d.at[k] : 0.0f) : d.at[k] * slope;
    }
    put(dx, i, d, add);
  });
}
