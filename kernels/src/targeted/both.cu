// loss = (z_t - z_y) / r per row, r = 1 or z_1 - (z_3 + z_4) / 2 + 1e-12, z_1 >= z_2 >= z_3 >= z_4 its largest logits. Backward, with
// n the numerator: dz = dloss / r at t, -dloss / r at y, -dloss n / r^2 at the largest, half of dloss n / r^2 at the third and the
// fourth; entries that coincide add up, 0 elsewhere. Written or added. A label or target that names no class can't be reported from
// here: its loss is NaN, its row becomes NaN.
//
// Mapping: one thread per row: rows are few and short. Bytes per row: k reals read once, again k where dz is written.
// Tolerance: one rounding of a sum in double, one more where it adds.
#include "rows.cuh"

struct Top {
  unsigned first, third, fourth;  // columns; of equals the first counts as larger
  double denominator;
};

__device__ __forceinline__ Top top_of(const real* z, unsigned width, bool scaled, double tiny) {
  if (!scaled) return {0, 0, 0, 1.0};
  unsigned top[4] = {0, 0, 0, 0};
  float values[4] = {load(z, 0), 0.0f, 0.0f, 0.0f};
  for (unsigned k = 1; k < width; k++) {
    float value = load(z, k);
    unsigned rank = min(k, 4u);
#pragma unroll
    for (int above = 3; above >= 0; above--)
      if (rank == above + 1 && value > values[above]) rank = above;
#pragma unroll
    for (int below = 3; below > 0; below--)
      if (below > rank) {
        top[below] = top[below - 1];
        values[below] = values[below - 1];
      }
#pragma unroll
    for (int place = 0; place < 4; place++)
      if (place == rank) {
        top[place] = k;
        values[place] = value;
      }
  }
  return {top[0], top[2], top[3], (double)values[0] - 0.5 * ((double)values[2] + values[3]) + tiny};
}

extern "C" __global__ void forward(const real* z, const int* y, const int* t, real* loss, size_t rows, unsigned width, bool scaled,
                                   double tiny) {
  size_t i = thread_index();
  if (i >= rows) return;
  z += i * width;
  unsigned label = (unsigned)y[i], target = (unsigned)t[i];
  float result = not_a_number();
  if (label < width && target < width)
    result = (float)(((double)load(z, target) - load(z, label)) / top_of(z, width, scaled, tiny).denominator);
  store(loss, i, result);
}

extern "C" __global__ void backward(const real* z, const int* y, const int* t, const real* dloss, real* dz, size_t rows,
                                    unsigned width, bool add, bool scaled, double tiny) {
  size_t i = thread_index();
  if (i >= rows) return;
  z += i * width;
  dz += i * width;
  unsigned label = (unsigned)y[i], target = (unsigned)t[i];
  if (label >= width || target >= width) {
    for (unsigned k = 0; k < width; k++) store(dz, k, not_a_number());
    return;
  }
  Top top = top_of(z, width, scaled, tiny);
  double slope = (double)load(dloss, i) / top.denominator;
  double bend = scaled ? slope * (((double)load(z, target) - load(z, label)) / top.denominator) : 0.0;
  for (unsigned k = 0; k < width; k++) {
    bool bends = scaled && (k == top.first || k == top.third || k == top.fourth);
    double sum = 0.0;
    if (scaled && k == top.first) sum -= bend;
    if (scaled && (k == top.third || k == top.fourth)) sum += 0.5 * bend;
    if (k == target) sum += slope;
    if (k == label) sum -= slope;
    // Adding nothing leaves what is there alone.
    if (bends || k == target || k == label || !add) put(dz, k, (float)sum, add);
  }
}
