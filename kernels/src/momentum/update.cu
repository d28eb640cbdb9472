// v = mu v + g / mean|g| per sample; mu v where the mean is 0 or not finite.
//
// Mapping: one block of 256 threads per sample, thread t handles elements t, t + 256, ...; sums as reduce.cuh, in double.
// Bytes per element: 3 reals read, 1 written. Tolerance: three roundings.
#include "reduce.cuh"
#include "storage.cuh"

extern "C" __global__ void update(real* v, const real* g, const real* mu, size_t width) {
  __shared__ double parts[8];
  v += blockIdx.x * width;
  g += blockIdx.x * width;
  double sum = 0.0;
  for (size_t i = threadIdx.x; i < width; i += blockDim.x) sum += fabsf(load(g, i));
  double mean = block_sum(sum, parts) / (double)width;
  bool moves = mean > 0.0 && isfinite(mean);
  float decay = load(mu, 0);
  for (size_t i = threadIdx.x; i < width; i += blockDim.x)
    store(v, i, decay * load(v, i) + (moves ? (float)(load(g, i) / mean) : 0.0f));
}
