// Four neighbours of a tensor per thread. Buffers begin at multiples of 256 bytes, so that elements i .. i + 4 are aligned
// where i is a multiple of 4.
#pragma once
#include "storage.cuh"

struct Four {
  float at[4];
};

// Elements i .. i + 4 of `count`, 0 behind the last; i lies before it. At once where they are `aligned`.
__device__ __forceinline__ Four load_four(const real* p, size_t i, size_t count, bool aligned = true) {
  if (aligned && count - i >= 4) {
    float4 v = load4(p, i);
    return {{v.x, v.y, v.z, v.w}};
  }
  Four four;
  for (int k = 0; k < 4; k++) four.at[k] = k < count - i ? load(p, i + k) : 0.0f;
  return four;
}

// The same elements; none behind the last.
__device__ __forceinline__ void store_four(real* p, size_t i, size_t count, const Four& four, bool aligned = true) {
  if (aligned && count - i >= 4) {
    store4(p, i, make_float4(four.at[0], four.at[1], four.at[2], four.at[3]));
    return;
  }
  for (int k = 0; k < 4; k++)
    if (k < count - i) store(p, i + k, four.at[k]);
}
