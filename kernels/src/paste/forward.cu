// y = patch where mask != 0, else image.
//
// Mapping: four elements per thread. Bytes per element: 3 reals read, 1 written. Tolerance: exact.
#include "lanes.cuh"

extern "C" __global__ void forward(const real* image, const real* patch, const real* mask, real* y, size_t count) {
  each(count, [=](size_t i, Pack v) {
    Pack over = v, where = v;
    fetch(v, image, i);
    fetch(over, patch, i);
    fetch(where, mask, i);
    for (int k = 0; k < 4; k++)
      if (where.at[k] != 0.0f) v.at[k] = over.at[k];
    keep(y, i, v);
  });
}
