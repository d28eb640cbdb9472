// d = delta + alpha g / (|g| + 1e-10), d = d min(1, eps / |d|), delta = clamp(d, 0 - x, 1 - x), per sample, for samples
// that are active. A sample whose gradient's norm is not finite takes no step.
//
// With f the factor of g, |d|^2 = |delta|^2 + 2 f <delta, g> + f^2 |g|^2: so one pass measures, and one steps and projects.
// The sums are in double: d can be far shorter than delta and f g only where it needs no projection, delta being in the ball.
//
// Mapping: one block of 256 threads per CHUNK elements of a sample. Bytes per element: `measure` 2 reals read, `step` 3
// read and 1 written. Order: thread t sums elements t, t + 256, ... of its block's, then as block_sum and sample_sum.
// Tolerance: norms within a rounding; three roundings per result.
#include "attack.cuh"

__device__ __forceinline__ bool stands_still(const real* active, size_t sample) {
  return active && load(active, sample) == 0.0f;
}

// sums: those of delta^2 of all blocks, then of delta g, then of g^2.
extern "C" __global__ void measure(const real* delta, const real* g, const real* active, double* sums, size_t width) {
  __shared__ double parts[8];
  Part part = part_of(width);
  if (stands_still(active, part.sample)) return;
  delta += part.sample * width;
  g += part.sample * width;
  double lengths = 0.0, products = 0.0, slopes = 0.0;
  for (size_t i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) {
    double d = load(delta, i), slope = load(g, i);
    lengths = fma(d, d, lengths);
    products = fma(d, slope, products);
    slopes = fma(slope, slope, slopes);
  }
  lengths = block_sum(lengths, parts);
  products = block_sum(products, parts);
  slopes = block_sum(slopes, parts);
  if (threadIdx.x > 0) return;
  sums[blockIdx.x] = lengths;
  sums[gridDim.x + blockIdx.x] = products;
  sums[2 * (size_t)gridDim.x + blockIdx.x] = slopes;
}

extern "C" __global__ void step(real* delta, const real* g, const real* x, const real* eps, const real* alpha,
                                const real* active, const double* sums, size_t width) {
  __shared__ double parts[8];
  Part part = part_of(width);
  if (stands_still(active, part.sample)) return;
  double lengths = sample_sum(sums, part.sample, width, parts);
  double products = sample_sum(sums + gridDim.x, part.sample, width, parts);
  double slopes = sample_sum(sums + 2 * (size_t)gridDim.x, part.sample, width, parts);
  bool steps = isfinite(slopes);
  float factor = steps ? (float)((double)load(alpha, 0) / (sqrt(slopes) + 1e-10)) : 0.0f;
  if (steps) lengths += 2.0 * factor * products + (double)factor * factor * slopes;
  double norm = sqrt(lengths), radius = load(eps, 0);
  float shrink = norm > radius ? (float)(radius / norm) : 1.0f;
  delta += part.sample * width;
  g += part.sample * width;
  x += part.sample * width;
  for (size_t i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) {
    float d = load(delta, i);
    if (steps) d = fmaf(factor, load(g, i), d);
    store(delta, i, into_box(d * shrink, load(x, i)));
  }
}
