// The step of Auto-PGD, per sample: mod.rs has the rule, apgd_check the columns of a row.
//
// Mapping: `linf` one thread per element; `l2` one block of 256 threads per sample, thread t elements t, t + 256, .. Bytes per
// element: up to 5 reals read and 5 written, in L2 four times as many read, mostly from a cache. Order of sums: thread t adds its
// elements in order in double, then as block_sum. Tolerance: linf the CPU's bits but for the signs of zeros; l2 norms within a
// rounding, five roundings per result.
#include "attack.cuh"
#include "progress.cuh"

constexpr int COLUMNS = 12, ETA = 3, ACTION = 11;
constexpr unsigned BEST = 1, FOOLS = 2, STEP = 4, BACK = 8;

struct Row {
  float eps, eta, share, rest;
  unsigned action;
};

__device__ __forceinline__ Row row_of(const real* progress, size_t sample) {
  const real* row = progress + sample * COLUMNS;
  float share = load(row, STEPS) == 1.0f ? 1.0f : 0.75f;
  unsigned action = (unsigned)load(row, ACTION);
  if (!(action & STEP)) action &= ~BACK;  // nothing starts from there
  return {load(row, EPS), load(row, ETA), share, 1.0f - share, action};
}

// Keeps what is to be kept of element i, and gives where the step starts, and the gradient there.
__device__ __forceinline__ float2 begin(const Row& row, real* delta, real* best, real* best_gradient, real* fooling,
                                        const real* g, size_t i) {
  if (row.action & FOOLS) fooling[i] = delta[i];
  if (row.action & BEST) {
    best[i] = delta[i];
    best_gradient[i] = g[i];
  }
  if (!(row.action & BACK)) return {load(delta, i), load(g, i)};
  return {load(best, i), load(best_gradient, i)};
}

__device__ __forceinline__ float mixed(float here, float u, float before, const Row& row) {
  return here + (u - here) * row.share + (here - before) * row.rest;
}

extern "C" __global__ void linf(real* delta, real* before, real* best, real* best_gradient, real* fooling, const real* g,
                                const real* x, const real* progress, size_t count, size_t width) {
  size_t i = thread_index();
  if (i >= count) return;
  Row row = row_of(progress, i / width);
  float2 start = begin(row, delta, best, best_gradient, fooling, g, i);
  if (!(row.action & STEP)) return;
  float here = start.x, slope = start.y, image = load(x, i);
  float sign = slope > 0.0f ? 1.0f : slope < 0.0f ? -1.0f : 0.0f;
  float u = into_box(fminf(fmaxf(here + row.eta * sign, -row.eps), row.eps), image);
  float next = mixed(here, u, load(before, i), row);
  store(delta, i, into_box(fminf(fmaxf(next, -row.eps), row.eps), image));
  store(before, i, here);
}

__device__ __forceinline__ float shrinking(double squares, float eps) {
  double length = sqrt(squares);
  return (float)(fmin(length, (double)eps) / (length + 1e-12));
}

extern "C" __global__ void l2(real* delta, real* before, real* best, real* best_gradient, real* fooling, const real* g,
                              const real* x, const real* progress, size_t count, size_t width) {
  __shared__ double parts[8];
  size_t sample = blockIdx.x, end = min((sample + 1) * width, count);
  Row row = row_of(progress, sample);
  double squares = 0.0;
  for (size_t i = sample * width + threadIdx.x; i < end; i += blockDim.x) {
    float2 start = begin(row, delta, best, best_gradient, fooling, g, i);
    squares = fma((double)start.y, (double)start.y, squares);
    if (row.action & BACK) store(delta, i, start.x);
  }
  if (!(row.action & STEP)) return;  // the whole block
  const real* slopes = row.action & BACK ? best_gradient : g;
  double slope = sqrt(block_sum(squares, parts));
  float factor = isfinite(slope) ? (float)((double)row.eta / (slope + 1e-12)) : 0.0f;
  auto moved = [&](size_t i) {
    float here = load(delta, i);
    return factor == 0.0f ? here : here + factor * load(slopes, i);
  };
  squares = 0.0;
  for (size_t i = sample * width + threadIdx.x; i < end; i += blockDim.x) {
    double v = moved(i);
    squares = fma(v, v, squares);
  }
  float shrink = shrinking(block_sum(squares, parts), row.eps);
  auto next = [&](size_t i) {
    return mixed(load(delta, i), into_box(moved(i) * shrink, load(x, i)), load(before, i), row);
  };
  squares = 0.0;
  for (size_t i = sample * width + threadIdx.x; i < end; i += blockDim.x) {
    double v = next(i);
    squares = fma(v, v, squares);
  }
  float again = shrinking(block_sum(squares, parts), row.eps);
  for (size_t i = sample * width + threadIdx.x; i < end; i += blockDim.x) {
    float here = load(delta, i), there = into_box(next(i) * again, load(x, i));
    store(delta, i, there);
    store(before, i, here);
  }
}
