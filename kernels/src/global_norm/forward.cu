// norm = sqrt(sum g^2), factor = min(1, max_norm / (norm + tiny)), or 0 where the norm is NaN or infinite.
//
// Sums are in double, where no square of a float overflows or vanishes; those of four neighbours in float where that loses
// nothing, since conversions are slow.
//
// Mapping: `partial` one block of 256 threads per `block` elements (a multiple of 4), once per gradient; `finish` one block
// over all partial sums. Bytes: 1 real read per element, 8 written and read per block.
// Order: thread t sums fours t, t + 256, ... of its block, then as block_sum; `finish` sums blocks t, t + 256, ... likewise.
// Tolerance: 3 roundings of float per four squares.
#include "four.cuh"
#include "reduce.cuh"

__device__ __forceinline__ double squares_of(const Four& four) {
  float sum = 0.0f;
  for (int k = 0; k < 4; k++) sum = fmaf(four.at[k], four.at[k], sum);
  // What underflowed is far below the rounding of such a sum. NaN goes the other way.
  if (sum > 1e-28f && sum < 1e38f) return sum;
  double exact = 0.0;
  for (int k = 0; k < 4; k++) {
    double x = four.at[k];
    exact = fma(x, x, exact);
  }
  return exact;
}

extern "C" __global__ void partial(const real* g, double* sums, size_t count, size_t block) {
  __shared__ double parts[8];
  size_t end = min((blockIdx.x + 1) * block, count);
  double sum = 0.0;
  for (size_t i = blockIdx.x * block + 4 * threadIdx.x; i < end; i += 4 * blockDim.x)
    sum += squares_of(load_four(g, i, end));
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// As Finish of cuda.rs.
struct Finish {
  const double* sums;
  real* result;
  size_t count;
  double max_norm, tiny;
};

extern "C" __global__ void finish(Finish p) {
  __shared__ double parts[8];
  double sum = 0.0;
  for (size_t i = threadIdx.x; i < p.count; i += blockDim.x) sum += p.sums[i];
  sum = block_sum(sum, parts);
  if (threadIdx.x > 0) return;
  // Rounded first: a norm that overflows float is not finite either.
  float norm = (float)sqrt(sum);
  double factor = p.max_norm / ((double)norm + p.tiny);
  store(p.result, 0, norm);
  store(p.result, 1, isfinite(norm) ? (float)(factor < 1.0 ? factor : 1.0) : 0.0f);
}
