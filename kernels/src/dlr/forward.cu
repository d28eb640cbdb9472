// loss = (max over i != y of z_i, minus z_y) / (z_1 - z_3 + 1e-12) per row, z_1 >= z_2 >= z_3 its largest logits. A label
// that names no class can't be reported from here: its loss is NaN.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: k reals read three times, twice from the nearest cache; 1 written.
// Tolerance: one rounding of a result in double.
#include "ratio.cuh"

extern "C" __global__ void forward(const real* z, const int* y, real* loss, size_t rows, unsigned width, double tiny) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  float result = not_a_number();
  if (label < width) {
    Ratio ratio = ratio_of(z, row, label, tiny);
    result = (float)(ratio.numerator / ratio.denominator);
  }
  if (row.lane == 0) store(loss, row.index, result);
}
