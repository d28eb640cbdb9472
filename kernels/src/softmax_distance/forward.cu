// distance = sum_k (p_k - q_k)^2 per row, p = softmax(a), q = softmax(b).
//
// Mapping: one warp per row (rows.cuh). Bytes per row: 2 k reals read three times, twice from the nearest cache; 1 written.
// Order: rows.cuh. Tolerance: one rounding of a result in double.
#include "rows.cuh"

extern "C" __global__ void forward(const real* a, const real* b, real* distance, size_t rows, unsigned width) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  LogSoftmax p = log_softmax(a, row), q = log_softmax(b, row);
  double sum = row_sum(row, [&](unsigned k) {
    double difference = p.p(load(a, row.start + k)) - q.p(load(b, row.start + k));
    return difference * difference;
  });
  if (row.lane == 0) store(distance, row.index, (float)sum);
}
