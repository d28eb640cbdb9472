// With the numerator n and the denominator r of the loss: dz = dloss / r at the largest logit but the label's, -dloss / r at
// the label, -dloss n / r^2 at the largest, dloss n / r^2 at the third; entries that coincide add up, 0 elsewhere. Written or
// added. A label that names no class can't be reported from here: its row becomes NaN.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: k reals read three times, twice from the nearest cache; k written, or
// 4 read and written where it adds. Tolerance: one rounding of a sum in double, one more where it adds.
#include "ratio.cuh"

extern "C" __global__ void backward(const real* z, const int* y, const real* dloss, real* dz, size_t rows,
                                    unsigned width, bool add, double tiny) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  if (label >= width) return put_nans(dz, row);
  Ratio ratio = ratio_of(z, row, label, tiny);
  double slope = (double)load(dloss, row.index) / ratio.denominator;
  double bend = slope * (ratio.numerator / ratio.denominator);
  for_columns(row, [&](unsigned k) {
    double sum = 0.0;
    if (k == ratio.other) sum += slope;
    if (k == label) sum -= slope;
    if (k == ratio.first) sum -= bend;
    if (k == ratio.third) sum += bend;
    bool selected = k == ratio.other || k == label || k == ratio.first || k == ratio.third;
    // Adding nothing leaves what is there alone.
    if (selected || !add) put(dz, row.start + k, (float)sum, add);
  });
}
