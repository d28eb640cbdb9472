// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, x = clamp(x + step m / (sqrt(v) root + eps), low, high), for samples that
// are active; a gradient that is not finite counts as 0.
//
// Mapping: one thread per element. Bytes per element: 6 reals read, 3 written. Tolerance: a few roundings per result.
#include "storage.cuh"

// As Step of cuda.rs.
struct Step {
  real *x, *m, *v;
  const real *g, *low, *high, *rates, *active;
  size_t count, width;
  float b1, b2, from_g, from_g2, eps;
};

extern "C" __global__ void update(Step p) {
  size_t i = thread_index();
  if (i >= p.count || load(p.active, i / p.width) == 0.0f) return;
  float slope = load(p.g, i);
  if (!isfinite(slope)) slope = 0.0f;
  float first = p.b1 * load(p.m, i) + p.from_g * slope;
  float second = p.b2 * load(p.v, i) + p.from_g2 * (slope * slope);
  store(p.m, i, first);
  store(p.v, i, second);
  float moved = load(p.x, i) + load(p.rates, 0) * first / (sqrtf(second) * load(p.rates, 1) + p.eps);
  store(p.x, i, fminf(fmaxf(moved, load(p.low, i)), load(p.high, i)));
}
