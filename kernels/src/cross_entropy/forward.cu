// loss = -sum_k t_k log p_k per row, p = softmax(z); terms with t_k = 0 are left out. With labels, t = (1 - s) onehot(y)
// + s / k. A label that names no class can't be reported from here: its loss is NaN.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: k reals of logits read three times, twice from the nearest cache,
// soft k of targets; 1 written. Order: rows.cuh. Tolerance: one rounding of a result in double.
#include "rows.cuh"

extern "C" __global__ void soft(const real* z, const real* t, real* loss, size_t rows, unsigned width) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  LogSoftmax softmax = log_softmax(z, row);
  double sum = row_sum(row, [&](unsigned k) {
    float share = load(t, row.start + k);
    return share == 0.0f ? 0.0 : -((double)share * softmax.log_p(load(z, row.start + k)));
  });
  if (row.lane == 0) store(loss, row.index, (float)sum);
}

extern "C" __global__ void labels(const real* z, const int* y, real* loss, size_t rows, unsigned width,
                                  double smoothing) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  if (label >= width) {
    if (row.lane == 0) store(loss, row.index, not_a_number());
    return;
  }
  LogSoftmax softmax = log_softmax(z, row);
  double result = -softmax.log_p(load(z, row.start + label));
  // Not by a factor of 0: a class that is switched off by -inf has an infinite mean.
  if (smoothing != 0.0) {
    double sum = row_sum(row, [&](unsigned k) { return -softmax.log_p(load(z, row.start + k)); });
    result = (1.0 - smoothing) * result + smoothing * (sum / width);
  }
  if (row.lane == 0) store(loss, row.index, (float)result);
}
