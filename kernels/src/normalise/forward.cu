// y = (x - mean[c]) factor[c], factor = 1 / std, written or added. With means of 0 it is the gradient too.
//
// Mapping: blocks of one channel of one image, four elements per thread. Bytes per element: 1 real read (2 where it adds), 1
// written. Tolerance: three roundings.
#include "lanes.cuh"

// table: the means, then the factors.
extern "C" __global__ void normalise(const real* x, const float* table, real* y, size_t pixels, unsigned channels,
                                     bool add) {
  unsigned channel = row_of_block(pixels) % channels;
  float mean = table[channel], factor = table[channels + channel];
  each_of_row(pixels, [=](size_t i, Pack v) {
    fetch(v, x, i);
    for (float& a : v.at) a = (a - mean) * factor;
    put(y, i, v, add);
  });
}
