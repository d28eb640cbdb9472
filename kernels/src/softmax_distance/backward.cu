// da_k = 2 p_k ((p_k - q_k) - sum_j p_j (p_j - q_j)) ddistance, p = softmax(a), q = softmax(b), written or added; for db the
// host exchanges the two.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: 2 k reals read four times, all but the first from the nearest cache;
// k written. Order: rows.cuh. Tolerance: the slope in double is rounded once, and its product with ddistance once.
#include "rows.cuh"

extern "C" __global__ void backward(const real* a, const real* b, const real* ddistance, real* da, size_t rows,
                                    unsigned width, bool add) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  LogSoftmax softmax_a = log_softmax(a, row), softmax_b = log_softmax(b, row);
  double mean = row_sum(row, [&](unsigned k) {
    double p = softmax_a.p(load(a, row.start + k));
    return p * (p - softmax_b.p(load(b, row.start + k)));
  });
  float d = load(ddistance, row.index);
  for_columns(row, [&](unsigned k) {
    size_t i = row.start + k;
    double p = softmax_a.p(load(a, i)), q = softmax_b.p(load(b, i));
    put(da, i, d * (float)(2.0 * p * ((p - q) - mean)), add);
  });
}
