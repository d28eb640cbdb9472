// y = qkv in q and k; in v, 1 in the first feature of each head of the key's token, else 0. A key that names no token can't
// be reported from here: all its sample's values are NaN.
//
// Mapping: four elements per thread, single ones where q, k and v are no multiples of four wide. Bytes per element: 1 real
// read (none in v), 1 written. Tolerance: exact.
#include "lanes.cuh"

extern "C" __global__ void forward(const real* qkv, const int* keys, real* y, size_t count, size_t n, size_t w,
                                   size_t d) {
  each_within_rows(count, w, [=](size_t i, Pack v) {
    size_t row = i / (3 * w), column = i - row * 3 * w;
    if (column < 2 * w) {
      fetch(v, qkv, i);
    } else {
      size_t sample = row / n, feature = column - 2 * w;
      unsigned key = (unsigned)keys[sample];
      float mark = key == row - sample * n ? 1.0f : 0.0f;
      for (int k = 0; k < 4; k++) {
        if (k < v.lanes && (feature + k) % d == 0) v.at[k] = mark;
        if (key >= n) v.at[k] = __int_as_float(0x7fc00000);
      }
    }
    keep(y, i, v);
  });
}
