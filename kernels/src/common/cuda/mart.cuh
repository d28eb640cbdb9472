// The clean and the attacked row of logits of a sample, by a warp: softmaxes p and q, label y, k the most probable class of
// q but y.
#pragma once
#include "divergence.cuh"

struct Sample {
  LogSoftmax p, q;
  unsigned label, other;
};

constexpr double kCeiling = 1.0001 + 1e-12, kFloor = 1e-12, kWhole = 1.0000001;

__device__ __forceinline__ Sample sample_of(const real* a, const real* b, const Row& row, unsigned label) {
  return {log_softmax(a, row), log_softmax(b, row), label, runner_up(b, row, label)};
}

// p (log p - log(q + floor) - shift) of column j.
__device__ __forceinline__ double term(const Sample& s, const real* a, const real* b, const Row& row, unsigned j,
                                       double shift) {
  size_t i = row.start + j;
  return weighted(s.p.log_p(load(a, i)), log(s.q.p(load(b, i)) + kFloor), shift);
}

// K, the divergence of p and q with the floor.
__device__ __forceinline__ double floored_divergence(const Sample& s, const real* a, const real* b, const Row& row) {
  return row_sum(row, [&](unsigned j) { return term(s, a, b, row, j, 0.0); });
}
