// The value of an element of W = M + E, and matrices' tiles drawn where a product needs them.
#pragma once
#include "philox.cuh"
#include "storage.cuh"

// As Drawing of kernels/src/stochastic_linear/cuda.rs.
struct Drawing {
  const unsigned *state, *ids;  // ids: NULL where the batch shares a matrix
  const int* table;
  unsigned stream, kind, identity, unused;
  float a, b, c, unused_too;

  __device__ __forceinline__ Law law() const { return {kind, a, b, c, table}; }
  __device__ __forceinline__ unsigned sample(size_t matrix) const { return ids ? ids[matrix] : 0; }
};

// Four neighbours of a matrix: elements 4 block .. 4 block + 3, from (row, column) on, in rows of `columns`.
__device__ __forceinline__ float4 drawn4(const Drawing& d, unsigned sample, unsigned block, size_t row, size_t column,
                                         size_t columns) {
  uint4 words = philox_block(d.state, d.stream, sample, block);
  Law law = d.law();
  float values[4];
#pragma unroll
  for (unsigned e = 0; e < 4; e++) {
    values[e] = law_value(word_of(words, e), law);
    if (d.identity && row == column) values[e] = __fadd_rn(values[e], 1.0f);
    if (++column == columns) {
      column = 0;
      row++;
    }
  }
  return make_float4(values[0], values[1], values[2], values[3]);
}
