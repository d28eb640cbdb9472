// loss = -log q_y - log(1.0001 - q_k + 1e-12) + beta K (1.0000001 - p_y) per row, p = softmax(a), q = softmax(b), k the most
// probable class of q but y, K = sum_j p_j (log p_j - log(q_j + 1e-12)). A label that names no class can't be reported
// from here: its loss is NaN.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: 2 k reals read four times, three times from the nearest cache; 1
// written. Order: rows.cuh. Tolerance: one rounding of a result in double.
#include "mart.cuh"

extern "C" __global__ void forward(const real* a, const real* b, const int* y, real* loss, size_t rows, unsigned width,
                                   double beta) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  if (label >= width) {
    if (row.lane == 0) store(loss, row.index, not_a_number());
    return;
  }
  Sample s = sample_of(a, b, row, label);
  double boosted = -s.q.log_p(load(b, row.start + label)) - log(kCeiling - s.q.p(load(b, row.start + s.other)));
  double divergence = floored_divergence(s, a, b, row);
  double result = boosted + beta * divergence * (kWhole - s.p.p(load(a, row.start + label)));
  if (row.lane == 0) store(loss, row.index, (float)result);
}
