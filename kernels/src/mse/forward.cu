// distance = s sum_i (a_i - b_i)^2 per sample, s = 1 or 1 / elements.
//
// Mapping: one block per sample, four neighbours at a time where rows allow it. Bytes: 2 reals read per element, 1 written per
// sample. Order: a thread adds its fours in order, then reduce.cuh. Tolerance: elements / threads + 5 + warps roundings.
#include "lanes.cuh"
#include "reduce.cuh"

extern "C" __global__ void __launch_bounds__(1024)
    forward(const real* a, const real* b, real* distance, size_t width, float scale) {
  __shared__ float parts[32];
  size_t begin = blockIdx.x * width;
  int lanes = width % 4 == 0 ? 4 : 1;
  float sum = 0.0f;
  for (size_t i = lanes * threadIdx.x; i < width; i += lanes * blockDim.x) {
    Pack x = pack(lanes, 0.0f), y = x;
    fetch(x, a, begin + i);
    fetch(y, b, begin + i);
    for (int k = 0; k < 4; k++) {
      float d = x.at[k] - y.at[k];
      sum = fmaf(d, d, sum);
    }
  }
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) store(distance, blockIdx.x, scale * sum);
}
