// loss = max over i != y of z_i, minus z_y, per row; with a cap at most that. A label that names no class can't be reported
// from here: its loss is NaN.
//
// Mapping: one warp per row (rows.cuh). Bytes per row: k reals read, 1 written. Tolerance: one rounding.
#include "rows.cuh"

extern "C" __global__ void forward(const real* z, const int* y, real* loss, size_t rows, unsigned width, bool capped,
                                   float cap) {
  Row row = row_of_warp(width);
  if (row.index >= rows) return;
  unsigned label = (unsigned)y[row.index];
  float margin = not_a_number();
  if (label < width)
    margin = load(z, row.start + runner_up(z, row, label)) - load(z, row.start + label);
  if (row.lane == 0) store(loss, row.index, capped && margin > cap ? cap : margin);
}
