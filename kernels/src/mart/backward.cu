// first: da_j = beta (W p_j (log p_j - log(q_j + 1e-12) - K) - K p_y ([j = y] - p_j)) dloss, W = 1.0000001 - p_y. second:
// db_j = (q_j - [j = y] + s ([j = k] - q_j) + beta W (q_j sum_i p_i f_i - p_j f_j)) dloss, s = q_k / (1.0001 - q_k + 1e-12),
// f_i = q_i / (q_i + 1e-12). Names as in forward.cu. Written or added. A label that names no class can't be reported from
// here: its row becomes NaN.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: 2 k reals read five times, all but the first from the nearest
// cache; k written. Order: rows.cuh. Tolerance: the slope in double is rounded once, and its product with dloss once.
#include "mart.cuh"

extern "C" __global__ void first(const real* a, const real* b, const int* y, const real* dloss, real* da, size_t rows,
                                 unsigned width, bool add, double beta) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  if (label >= width) return put_nans(da, row);
  Sample s = sample_of(a, b, row, label);
  double divergence = floored_divergence(s, a, b, row);
  double p_label = s.p.p(load(a, row.start + label));
  float d = load(dloss, row.index);
  for_columns(row, [&](unsigned j) {
    size_t i = row.start + j;
    double away = (j == label ? 1.0 : 0.0) - s.p.p(load(a, i));
    double slope = (kWhole - p_label) * term(s, a, b, row, j, divergence) - divergence * p_label * away;
    put(da, i, d * (float)(beta * slope), add);
  });
}

extern "C" __global__ void second(const real* a, const real* b, const int* y, const real* dloss, real* db, size_t rows,
                                  unsigned width, bool add, double beta) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  if (label >= width) return put_nans(db, row);
  Sample s = sample_of(a, b, row, label);
  auto passed = [&](unsigned j) {
    double q = s.q.p(load(b, row.start + j));
    return s.p.p(load(a, row.start + j)) * (q / (q + kFloor));
  };
  double total = row_sum(row, passed);
  double most = s.q.p(load(b, row.start + s.other));
  double boost = most / (kCeiling - most);
  double pull = beta * (kWhole - s.p.p(load(a, row.start + label)));
  float d = load(dloss, row.index);
  for_columns(row, [&](unsigned j) {
    size_t i = row.start + j;
    double q = s.q.p(load(b, i));
    double slope = q - (j == label ? 1.0 : 0.0) + boost * ((j == s.other ? 1.0 : 0.0) - q);
    put(db, i, d * (float)(slope + pull * (q * total - passed(j))), add);
  });
}
