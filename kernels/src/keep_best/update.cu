// Where a sample's score exceeds its best so far, best = candidate and best score = score. NaN exceeds nothing and nothing
// exceeds NaN.
//
// Mapping: `samples` one thread per element copies; `scores` one per sample, after it. Bytes per element: up to 1 real read
// and 1 written. Tolerance: exact.
#include "storage.cuh"

__device__ __forceinline__ bool wins(const real* score, const real* best_score, size_t sample) {
  return load(score, sample) > load(best_score, sample);
}

extern "C" __global__ void samples(real* best, const real* best_score, const real* candidate, const real* score,
                                   size_t count, size_t width) {
  size_t i = thread_index();
  if (i < count && wins(score, best_score, i / width)) best[i] = candidate[i];
}

extern "C" __global__ void scores(real* best_score, const real* score, size_t count) {
  size_t i = thread_index();
  if (i < count && wins(score, best_score, i)) best_score[i] = score[i];
}
