// right = 1 where the label's logit is the largest of its row (of equals the first counts), else 0; 0 for a row that holds
// NaN. A label that names no class can't be reported from here: it gives NaN.
//
// Mapping: one warp per row, blocks of 8. Bytes per row: k reals read, 1 written. Exact.
#include "storage.cuh"

extern "C" __global__ void forward(const real* z, const int* y, real* right, size_t rows, size_t classes) {
  size_t row = blockIdx.x * (size_t)8 + threadIdx.x / 32;
  if (row >= rows) return;  // the whole warp
  unsigned lane = threadIdx.x % 32;
  size_t label = (size_t)y[row];  // a negative one is huge
  if (label >= classes) {
    if (lane == 0) store(right, row, __int_as_float(0x7fc00000));
    return;
  }
  float own = load(z, row * classes + label);
  bool wins = true;
  for (size_t k = lane; k < classes; k += 32) {
    float value = load(z, row * classes + k);
    wins = wins && (value < own || (k >= label && value == own));  // false for NaN on either side
  }
  wins = __all_sync(~0u, wins);
  if (lane == 0) store(right, row, wins ? 1.0f : 0.0f);
}
