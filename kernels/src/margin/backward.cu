// dz = dloss at the largest logit but the label's (the first, of equals), -dloss at the label, 0 elsewhere and beyond the
// cap; written or added. NaN is beyond every cap. A label that names no class can't be reported from here: its row becomes
// NaN.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: k reals read; k written, or 2 read and written where it adds.
// Tolerance: exact, or one rounding where it adds.
#include "rows.cuh"

extern "C" __global__ void backward(const real* z, const int* y, const real* dloss, real* dz, size_t rows,
                                    unsigned width, bool add, bool capped, float cap) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  if (label >= width) return put_nans(dz, row);
  unsigned other = runner_up(z, row, label);
  float margin = load(z, row.start + other) - load(z, row.start + label);
  float d = load(dloss, row.index);
  bool flat = capped && !(margin <= cap);
  for_columns(row, [&](unsigned k) {
    float slope = flat ? 0.0f : k == other ? d : k == label ? -d : 0.0f;
    // Adding nothing leaves what is there alone.
    if (!add || (!flat && (k == other || k == label))) put(dz, row.start + k, slope, add);
  });
}
