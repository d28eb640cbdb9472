// slice: the gradient of the patches, or of noise that each sample has for itself: the tokens of dy from `first` on.
// sum: of what a batch shares, the sum over the samples of the tokens of dy from `first` on. Written or added.
//
// Mapping: slice four elements of the gradient per thread; sum a block of 32 x 8 threads per 32 elements of it.
// Bytes per element: slice 1 real read (2 where it adds), sum 1 per sample; 1 written. Order of the sum: columns.cuh.
// Tolerance: slice exact, or one rounding where it adds; sum samples / 8 + 8 roundings.
#include "columns.cuh"
#include "lanes.cuh"

extern "C" __global__ void slice(const real* dy, real* gradient, size_t count, size_t n, size_t d, size_t first,
                                 size_t tokens, bool add) {
  each_within_rows(count, d, [=](size_t i, Pack v) {
    // Sample by sample, dy has so many elements more.
    fetch(v, dy, i + (i / (tokens * d) * (n - tokens) + first) * d);
    put(gradient, i, v, add);
  });
}

extern "C" __global__ void sum(const real* dy, real* gradient, size_t samples, size_t n, size_t d, size_t first,
                               size_t tokens, bool add) {
  sum_columns(dy + first * d, samples, n * d, blockIdx.x, tokens * d,
              [=](size_t i, float sum) { put(gradient, i, sum, add); });
}
