// delta = clamp(factor d, 0 - x, 1 - x), d drawn per (random state, stream, sample id, element): uniform in -1 .. 1 times
// eps, standard normal times a standard deviation, or a standard normal direction times eps u / |d|, where u is the
// uniform value of the element behind the sample's last.
//
// Directions are drawn twice, by `measure` for their norms and by `place`: that costs less than keeping them would.
//
// Mapping: one block of 256 threads per CHUNK elements of a sample, four neighbours per thread and Philox call.
// Bytes per element: 1 real read, 1 written. Order of a norm: thread t adds fours t, t + 256, ... of its block's in double,
// then as block_sum and sample_sum. Tolerance: the CPU's bits. Draws are multiples of 2^-20, so sums of squares are exact
// below 2^13; longer ones round in another order than the CPU's, which shows in float for one sample in 10^7.
#include "attack.cuh"
#include "four.cuh"
#include "philox.cuh"

__device__ __forceinline__ Four drawn(uint4 words, const Law& law) {
  return {{law_value(words.x, law), law_value(words.y, law), law_value(words.z, law), law_value(words.w, law)}};
}

extern "C" __global__ void measure(const unsigned* ids, const unsigned* state, unsigned stream, unsigned kind, float a,
                                   float b, float c, const int* table, double* sums, size_t width) {
  __shared__ double parts[8];
  Part part = part_of(width);
  Law law = {kind, a, b, c, table};
  double sum = 0.0;
  for (size_t i = part.begin + 4 * threadIdx.x; i < part.end; i += 4 * blockDim.x) {
    Four values = drawn(philox_block(state, stream, ids[part.sample], (unsigned)(i / 4)), law);
    for (int k = 0; k < 4; k++) {
      double value = k < part.end - i ? values.at[k] : 0.0f;
      sum = fma(value, value, sum);
    }
  }
  sum = block_sum(sum, parts);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// With `sums`, directions; without, draws times eps, or times `deviation` where there is no eps.
extern "C" __global__ void place(real* delta, const real* x, const unsigned* ids, const real* eps, float deviation,
                                 const unsigned* state, unsigned stream, unsigned kind, float a, float b, float c,
                                 const int* table, const double* sums, size_t width) {
  __shared__ double parts[8];
  Part part = part_of(width);
  unsigned id = ids[part.sample];
  float factor = eps ? load(eps, 0) : deviation;
  if (sums) {
    double norm = sqrt(sample_sum(sums, part.sample, width, parts));
    double radius = (double)factor * uniform_of(philox_word(state, stream, id, (unsigned)width));
    factor = norm > 0.0 ? (float)(radius / norm) : 0.0f;
  }
  Law law = {kind, a, b, c, table};
  bool aligned = width % 4 == 0;
  delta += part.sample * width;
  x += part.sample * width;
  for (size_t i = part.begin + 4 * threadIdx.x; i < part.end; i += 4 * blockDim.x) {
    Four values = drawn(philox_block(state, stream, id, (unsigned)(i / 4)), law);
    Four image = load_four(x, i, part.end, aligned);
    for (int k = 0; k < 4; k++) values.at[k] = into_box(factor * values.at[k], image.at[k]);
    store_four(delta, i, part.end, values, aligned);
  }
}
