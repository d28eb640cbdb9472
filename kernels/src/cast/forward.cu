// y = x, in another type: `narrow` from float to bf16, `widen` back. To nearest, ties to even; exact on the way back.
//
// Mapping: one thread per element. Bytes: 4 and 2 per element. The gradient is the other direction; `add` adds to what is
// there.
#include "storage.cuh"

extern "C" __global__ void narrow(const float* x, unsigned short* y, size_t count, bool add) {
  size_t i = thread_index();
  if (i >= count) return;
  y[i] = bf16_of_float(add ? float_of_bf16(y[i]) + x[i] : x[i]);
}

extern "C" __global__ void widen(const unsigned short* x, float* y, size_t count, bool add) {
  size_t i = thread_index();
  if (i >= count) return;
  float value = float_of_bf16(x[i]);
  y[i] = add ? y[i] + value : value;
}
