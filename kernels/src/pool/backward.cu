// dx = dy / tokens in the tokens that were read, written or added; zeros elsewhere, or nothing added.
//
// Mapping: four elements of dx per thread. Bytes per element: dy comes from the cache; 1 real written, and read where it adds.
// Tolerance: one rounding, two where it adds.
#include "lanes.cuh"

extern "C" __global__ void backward(const real* dy, real* dx, size_t count, size_t n, size_t d, size_t first,
                                    size_t tokens, bool add) {
  each_within_rows(count, d, [=](size_t i, Pack v) {
    size_t row = i / d, sample = row / n, token = row - sample * n;
    if (token >= first && token < first + tokens) {
      fetch(v, dy, i - (row - sample) * d);
      for (float& a : v.at) a /= (float)tokens;
      put(dx, i, v, add);
    } else if (!add) {
      keep(dx, i, pack(v.lanes, 0.0f));
    }
  });
}
