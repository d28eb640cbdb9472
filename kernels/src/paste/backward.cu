// dx = dy where the input was taken, written or added; zeros elsewhere, or nothing added. inside: the patch's, else the image's.
//
// Mapping: four elements per thread. Bytes per element: 2 reals read (3 where it adds), 1 written.
// Tolerance: exact, or one rounding where it adds.
#include "lanes.cuh"

extern "C" __global__ void backward(const real* dy, const real* mask, real* dx, size_t count, bool inside, bool add) {
  each(count, [=](size_t i, Pack v) {
    Pack before = v, where = v;
    fetch(v, dy, i);
    fetch(where, mask, i);
    if (add) fetch(before, dx, i);
    for (int k = 0; k < 4; k++) {
      bool taken = (where.at[k] != 0.0f) == inside;
      v.at[k] = !taken ? before.at[k] : add ? before.at[k] + v.at[k] : v.at[k];
    }
    keep(dx, i, v);
  });
}
