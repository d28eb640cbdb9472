// da = 2 s (a - b) ddistance, s = 1 or 1 / elements of a sample; for db the host exchanges the two. Written or added.
//
// Mapping: blocks of one sample, four elements per thread. Bytes per element: 2 reals read (3 where it adds), 1 written.
// Tolerance: three roundings.
#include "lanes.cuh"

// scale: 2 s.
extern "C" __global__ void backward(const real* a, const real* b, const real* d_distance, real* gradient, size_t width,
                                    float scale, bool add) {
  float factor = scale * load(d_distance, row_of_block(width));
  each_of_row(width, [=](size_t i, Pack v) {
    Pack other = v;
    fetch(v, a, i);
    fetch(other, b, i);
    for (int k = 0; k < 4; k++) v.at[k] = factor * (v.at[k] - other.at[k]);
    put(gradient, i, v, add);
  });
}
