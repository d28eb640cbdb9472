// dx = dy if the gate is open, else 0; written or added. It is open where one uniform value is at most q; not where q is NaN.
//
// Mapping: four elements per thread; one thread of each block draws. Bytes per element: 1 real read (2 where it adds; none
// where the gate is closed), 1 written. Tolerance: exact, or one rounding where it adds.
#include "lanes.cuh"
#include "philox.cuh"

extern "C" __global__ void backward(const real* dy, const unsigned* state, const float* q, real* dx, size_t count,
                                    unsigned stream, bool add) {
  __shared__ bool open;
  if (threadIdx.x == 0) open = uniform_of(philox_word(state, stream, 0, 0)) <= q[0];
  __syncthreads();
  bool is_open = open;
  each(count, [=](size_t i, Pack v) {
    // Selected, not multiplied: a closed gate stops NaN and infinity too.
    if (is_open) {
      fetch(v, dy, i);
      put(dx, i, v, add);
    } else if (!add) {
      keep(dx, i, v);
    }
  });
}
