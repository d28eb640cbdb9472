// What optimizer steps share.
#pragma once
#include "four.cuh"

// Whether the step is taken, from the clipping factor of global_norm: it is positive and finite.
__device__ __forceinline__ bool takes_step(float factor) { return factor > 0.0f && isfinite(factor); }

// Weight decay of elements start .. start + 4 of a flat vector. pieces: (end, bits of the factor) of Decay::table in
// kernels/src/common/decay.rs; each begins where the one before it ends, and the last one never does.
__device__ __forceinline__ Four decays(const uint2* pieces, unsigned count, size_t start) {
  unsigned low = 0, high = count - 1;
  while (low < high) {
    unsigned middle = low + (high - low) / 2;
    if (pieces[middle].x > start)
      high = middle;
    else
      low = middle + 1;
  }
  uint2 piece = pieces[low];
  Four factors;
  for (int k = 0; k < 4; k++) {
    while (piece.x <= start + k && low + 1 < count) piece = pieces[++low];
    factors.at[k] = __uint_as_float(piece.y);
  }
  return factors;
}
