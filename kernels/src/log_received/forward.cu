// y = mean over queries of log(max(1e-30, mean over heads of the head's first feature)), per sample, in double.
//
// Mapping: one block of 256 threads per sample, thread t takes queries t, t + 256, ...; sums as reduce.cuh.
// Bytes: 1 real read per query and head. Tolerance: one rounding.
#include "reduce.cuh"
#include "storage.cuh"

extern "C" __global__ void forward(const real* x, real* y, size_t n, size_t h, size_t d) {
  __shared__ double parts[8];
  const real* sample = x + blockIdx.x * n * h * d;
  double total = 0.0;
  for (size_t i = threadIdx.x; i < n; i += blockDim.x) {
    double sum = 0.0;
    for (size_t head = 0; head < h; head++) sum += load(sample, (i * h + head) * d);
    double mean = sum / (double)h;
    total += log(mean < 1e-30 ? 1e-30 : mean);
  }
  total = block_sum(total, parts);
  if (threadIdx.x == 0) store(y, blockIdx.x, (float)(total / (double)n));
}
