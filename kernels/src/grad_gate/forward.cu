// y = x.
//
// Mapping: four elements per thread. Bytes per element: 1 real read, 1 written. Exact.
#include "lanes.cuh"

extern "C" __global__ void forward(const real* x, real* y, size_t count) {
  each(count, [=](size_t i, Pack v) {
    fetch(v, x, i);
    keep(y, i, v);
  });
}
