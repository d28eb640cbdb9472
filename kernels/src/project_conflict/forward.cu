// y = sum + weight (h - c g), c = min(0, <h, g>) / |g|^2 per sample; published divides by |g|.
//
// Mapping: one block of 256 threads per sample, thread t handles elements t, t + 256, ...; sums as reduce.cuh, in double.
// Bytes per element: 5 reals read, 1 written. Tolerance: four roundings.
#include "reduce.cuh"
#include "storage.cuh"

extern "C" __global__ void forward(const real* sum, const real* g, const real* h, real* y, size_t width, float weight,
                                   bool published) {
  __shared__ double parts[8];
  size_t start = blockIdx.x * width;
  double product = 0.0, squares = 0.0;
  for (size_t i = start + threadIdx.x; i < start + width; i += blockDim.x) {
    double slope = load(g, i);
    product = fma(slope, (double)load(h, i), product);
    squares = fma(slope, slope, squares);
  }
  product = block_sum(product, parts);
  squares = block_sum(squares, parts);
  float c = product < 0.0 ? (float)(product / (published ? sqrt(squares) : squares)) : 0.0f;
  for (size_t i = start + threadIdx.x; i < start + width; i += blockDim.x)
    store(y, i, load(sum, i) + weight * (load(h, i) - c * load(g, i)));
}
