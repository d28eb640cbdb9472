// Philox4x32-10 and the values that are made of its words, with the bits of engine/src/rng.rs and
// kernels/src/common/random.rs: key = seed, counter = (element / 4, sample, step, stream).
#pragma once

__device__ __forceinline__ uint4 philox4x32_10(uint4 c, uint2 key) {
  for (int round = 0; round < 10; round++) {
    unsigned high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
    unsigned high1 = __umulhi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
    c = make_uint4(high1 ^ c.y ^ key.x, low1, high0 ^ c.w ^ key.y, low0);
    key = make_uint2(key.x + 0x9E3779B9u, key.y + 0xBB67AE85u);
  }
  return c;
}

// The words of elements 4 block .. 4 block + 3 of a sample. state: seed low, seed high, step, 0.
__device__ __forceinline__ uint4 philox_block(const unsigned* state, unsigned stream, unsigned sample, unsigned block) {
  return philox4x32_10(make_uint4(block, sample, state[2], stream), make_uint2(state[0], state[1]));
}

// Word i of four.
__device__ __forceinline__ unsigned word_of(uint4 words, unsigned i) {
  return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
}

// The word of one element of a sample.
__device__ __forceinline__ unsigned philox_word(const unsigned* state, unsigned stream, unsigned sample,
                                                unsigned element) {
  return word_of(philox_block(state, stream, sample, element / 4), element % 4);
}

// Uniform in [0, 1): the upper 24 bits, exact.
__device__ __forceinline__ float uniform_of(unsigned word) { return (float)(word >> 8) * (1.0f / 16777216.0f); }

// The standard normal value of a word: its quantile, between two nodes of the table of engine/src/rng.rs.
__device__ __forceinline__ float normal_of(unsigned word, const int* table) {
  unsigned odd = word | 1u;
  unsigned octave = __clz((int)odd);
  unsigned mantissa = (odd << octave) << 1;
  const int* node = table + octave * 65u + (mantissa >> 26);
  int fraction = (int)((mantissa << 6) >> 16);
  int difference = node[1] - node[0];
  int step = ((difference >> 8) * fraction + (((difference & 255) * fraction) >> 8)) >> 8;
  float magnitude = (float)(node[0] + step) * (1.0f / 1048576.0f);
  return word & 1u ? -magnitude : magnitude;
}

// A law; `kind` as in kernels/src/common/cuda.rs.
struct Law {
  unsigned kind;  // 0: a + b u, u uniform; 1: a + b z, z normal; 2: b where u < a, else c
  float a, b, c;
  const int* table;  // of the normal law
};

// The value of a word. The multiplication and the addition round one by one, as on every backend.
__device__ __forceinline__ float law_value(unsigned word, const Law& law) {
  if (law.kind == 2) return uniform_of(word) < law.a ? law.b : law.c;
  float x = law.kind == 1 ? normal_of(word, law.table) : uniform_of(word);
  return __fadd_rn(law.a, __fmul_rn(law.b, x));
}
