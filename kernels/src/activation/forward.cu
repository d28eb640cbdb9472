// y = act(x), GELU with erf or ReLU.
//
// Mapping: four elements per thread. Bytes per element: 1 real read, 1 written. Tolerance: GELU within 3e-7 of |x|, ReLU exact.
#include "lanes.cuh"
#include "math.cuh"

extern "C" __global__ void forward(const real* x, real* y, size_t count, int activation) {
  each(count, [=](size_t i, Pack v) {
    fetch(v, x, i);
    for (float& a : v.at) a = activated(activation, a).value;
    keep(y, i, v);
  });
}
