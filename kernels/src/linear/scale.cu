// da = dy act'(a): the gradient of what goes into the activation, where tensor cores multiply it.
//
// Mapping: a thread per 8 elements. Bytes per element: 4 read, 2 written. Tolerance: half an ulp of bf16.
#include "bf16.cuh"

extern "C" __global__ void scale(const real* dy, const real* slope, real* da, size_t eighths) {
  size_t i = thread_index();
  if (i >= eighths) return;
  Eight x = load8(dy, 8 * i), by = load8(slope, 8 * i);
#pragma unroll
  for (int e = 0; e < 8; e++) x.v[e] *= by.v[e];
  store8(da, 8 * i, x);
}
