// delta = 0 on floor(P (1 - q) + P 2^-23) of the P patches of an image, in all channels of all samples: those whose Philox
// words are the smallest (of equals, the first patch).
//
// Mapping: `choose` one thread per patch counts the words before its own, which its block draws 1024 at a time; `apply` one
// thread per element. Bytes: 4 written per patch; per element up to 1 real written. Tolerance: exact.
#include "philox.cuh"
#include "storage.cuh"

// As masked in mod.rs, rounding by rounding.
__device__ __forceinline__ double masked(unsigned patches, float keep) {
  double all = patches;
  // By fma, which does not merge with the addition behind it as a product would.
  double product = fma(all, 1.0 - (double)keep, 0.0);
  double lost = product + all * (1.0 / 8388608.0);
  return isnan(lost) ? all : floor(lost);
}

extern "C" __global__ void choose(const real* keep, const unsigned* state, unsigned stream, unsigned patches,
                                  unsigned* flags) {
  constexpr unsigned tile = 1024;
  __shared__ unsigned words[tile];
  size_t patch = thread_index();
  unsigned word = philox_word(state, stream, 0, (unsigned)patch);
  unsigned before = 0;
  for (size_t first = 0; first < patches; first += tile) {
    uint4 four = philox_block(state, stream, 0, (unsigned)(first / 4) + threadIdx.x);
    __syncthreads();  // the words before these may still be read
    for (unsigned k = 0; k < 4; k++) words[4 * threadIdx.x + k] = word_of(four, k);
    __syncthreads();
    unsigned count = (unsigned)min((size_t)tile, patches - first);
    for (unsigned k = 0; k < count; k++) before += words[k] < word || (words[k] == word && first + k < patch);
  }
  if (patch < patches) flags[patch] = (double)before < masked(patches, load(keep, 0));
}

extern "C" __global__ void apply(real* delta, const unsigned* flags, size_t count, size_t height, size_t width,
                                 size_t side) {
  size_t i = thread_index();
  if (i >= count) return;
  size_t row = i / width % height, column = i % width;
  if (flags[row / side * (width / side) + column / side]) store(delta, i, 0.0f);
}
