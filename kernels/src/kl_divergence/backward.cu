// first: da_k = p_k (log p_k - log q_k - kl) dkl, 0 where p is. second: db_k = (q_k - p_k) dkl. Written or added.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: 2 k reals read, first four times, second three times, all but the
// first from the nearest cache; k written. Order: rows.cuh. Tolerance: the slope in double is rounded once, and its product
// with dkl once.
#include "divergence.cuh"

extern "C" __global__ void first(const real* a, const real* b, const real* dkl, real* da, size_t rows, unsigned width,
                                 bool add) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  LogSoftmax p = log_softmax(a, row), q = log_softmax(b, row);
  double kl = divergence(a, b, row, p, q);
  float d = load(dkl, row.index);
  for_columns(row, [&](unsigned k) {
    size_t i = row.start + k;
    put(da, i, d * (float)weighted(p.log_p(load(a, i)), q.log_p(load(b, i)), kl), add);
  });
}

extern "C" __global__ void second(const real* a, const real* b, const real* dkl, real* db, size_t rows, unsigned width,
                                  bool add) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  LogSoftmax p = log_softmax(a, row), q = log_softmax(b, row);
  float d = load(dkl, row.index);
  for_columns(row, [&](unsigned k) {
    size_t i = row.start + k;
    put(db, i, d * (float)(q.p(load(b, i)) - p.p(load(a, i))), add);
  });
}
