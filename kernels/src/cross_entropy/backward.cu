// dz_k = (p_k sum_j t_j - t_k) dloss, p = softmax(z), written or added. With labels, t = (1 - s) onehot(y) + s / k. A label
// that names no class can't be reported from here: its row becomes NaN.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: k reals of logits read three times, twice from the nearest cache,
// soft k of targets twice; k written. Order: rows.cuh. Tolerance: the slope in double is rounded once, and its product
// with dloss once.
#include "rows.cuh"

extern "C" __global__ void soft(const real* z, const real* t, const real* dloss, real* dz, size_t rows, unsigned width,
                                bool add) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  LogSoftmax softmax = log_softmax(z, row);
  double total = row_sum(row, [&](unsigned k) { return (double)load(t, row.start + k); });
  float d = load(dloss, row.index);
  for_columns(row, [&](unsigned k) {
    size_t i = row.start + k;
    put(dz, i, d * (float)(softmax.p(load(z, i)) * total - (double)load(t, i)), add);
  });
}

extern "C" __global__ void labels(const real* z, const int* y, const real* dloss, real* dz, size_t rows, unsigned width,
                                  bool add, double smoothing) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  if (label >= width) return put_nans(dz, row);
  LogSoftmax softmax = log_softmax(z, row);
  double off = smoothing / width, on = 1.0 - smoothing + off;
  float d = load(dloss, row.index);
  for_columns(row, [&](unsigned k) {
    size_t i = row.start + k;
    put(dz, i, d * (float)(softmax.p(load(z, i)) - (k == label ? on : off)), add);
  });
}
