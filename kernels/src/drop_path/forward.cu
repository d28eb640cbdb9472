// y = x / keep for samples that are kept, else 0; backward the same of dy, written or added.
//
// Mapping: blocks of one sample, four elements per thread; one thread of each draws. Bytes per element: 1 real read (2 where it
// adds; none of dropped samples), 1 written. Tolerance: the choice has the CPU's bits; one rounding, two where it adds.
#include "lanes.cuh"
#include "philox.cuh"

extern "C" __global__ void drop_path(const real* x, const unsigned* state, const unsigned* ids, real* y, size_t width,
                                     unsigned stream, float keep_rate, float factor, bool add) {
  __shared__ bool kept;
  if (threadIdx.x == 0) kept = uniform_of(philox_word(state, stream, ids[row_of_block(width)], 0)) < keep_rate;
  __syncthreads();
  bool is_kept = kept;
  each_of_row(width, [=](size_t i, Pack v) {
    // Selected, not multiplied: nothing of a dropped sample is left, be it infinite.
    if (is_kept) {
      fetch(v, x, i);
      for (float& a : v.at) a *= factor;
      put(y, i, v, add);
    } else if (!add) {
      keep(y, i, v);
    }
  });
}
