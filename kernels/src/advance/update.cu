// count = count + 1, in a u32 that wraps or a float.
//
// Mapping: one thread. Bytes: one number read and written. Tolerance: exact (float: rounded once).
#include "storage.cuh"

extern "C" __global__ void integer(unsigned* count) {
  if (threadIdx.x == 0) *count += 1u;
}

extern "C" __global__ void number(real* count) {
  if (threadIdx.x == 0) store(count, 0, load(count, 0) + 1.0f);
}
