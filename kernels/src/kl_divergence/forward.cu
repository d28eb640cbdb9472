// kl = sum_k p_k (log p_k - log q_k) per row, p = softmax(a), q = softmax(b); terms with p_k = 0 are 0.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: 2 k reals read three times, twice from the nearest cache; 1 written.
// Order: rows.cuh. Tolerance: one rounding of a result in double.
#include "divergence.cuh"

extern "C" __global__ void forward(const real* a, const real* b, real* kl, size_t rows, unsigned width) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  double sum = divergence(a, b, row, log_softmax(a, row), log_softmax(b, row));
  if (row.lane == 0) store(kl, row.index, (float)sum);
}
