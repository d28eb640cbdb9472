// delta = clamp(clamp(delta + alpha sign(g), -eps, eps), 0 - x, 1 - x), sign(0) = sign(NaN) = 0, for samples that are active.
//
// Mapping: one thread per four neighbours of the whole tensor. Bytes per element: 3 reals read, 1 written.
// Tolerance: the CPU's bits, but for the signs of zeros.
#include "attack.cuh"
#include "four.cuh"

extern "C" __global__ void update(real* delta, const real* g, const real* x, const real* eps, const real* alpha,
                                  const real* active, size_t count, size_t width) {
  size_t i = 4 * thread_index();
  if (i >= count) return;
  float radius = load(eps, 0), step = load(alpha, 0);
  Four d = load_four(delta, i, count), gradient = load_four(g, i, count), image = load_four(x, i, count);
  for (int k = 0; k < 4; k++) {
    if (active && k < count - i && load(active, (i + k) / width) == 0.0f) continue;
    float slope = gradient.at[k];
    float sign = slope > 0.0f ? 1.0f : slope < 0.0f ? -1.0f : 0.0f;
    float moved = d.at[k] + step * sign;
    d.at[k] = into_box(fminf(fmaxf(moved, -radius), radius), image.at[k]);
  }
  store_four(delta, i, count, d);
}
