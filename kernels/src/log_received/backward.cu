// dx = dy / (n h mean) in each head's first feature, mean being that over heads of the query; written or added; zeros
// elsewhere and where the mean is below 1e-30, or nothing added.
//
// Mapping: one warp per query. Bytes per query: h reals read (2 h where it adds), h d written. Tolerance: one rounding, two
// where it adds.
#include "rows.cuh"

extern "C" __global__ void backward(const real* x, const real* dy, real* dx, size_t queries, size_t n, size_t h,
                                    size_t d, bool add) {
  Row row = row_of_warp((unsigned)(h * d));
  if (row.index >= queries) return;
  double sum = 0.0;
  for (size_t head = row.lane; head < h; head += 32) sum += load(x, row.start + head * d);
  double mean = warp_sum(sum) / (double)h;
  bool reached = !(mean < 1e-30);
  float slope = (float)(load(dy, row.index / n) / (double)(n * h) / mean);
  for_columns(row, [&](unsigned k) {
    bool first = reached && k % d == 0;
    if (!add || first) put(dx, row.start + k, first ? slope : 0.0f, add);
  });
}
