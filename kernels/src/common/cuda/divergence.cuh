// Kullback-Leibler divergence of two rows of logits, by a warp.
#pragma once
#include "rows.cuh"

// p (log p - log q - shift), 0 where p is.
__device__ __forceinline__ double weighted(double log_p, double log_q, double shift) {
  double p = exp(log_p);
  return p == 0.0 ? 0.0 : p * (log_p - log_q - shift);
}

__device__ __forceinline__ double divergence(const real* a, const real* b, const Row& row, LogSoftmax p, LogSoftmax q) {
  return row_sum(row, [&](unsigned k) {
    size_t i = row.start + k;
    return weighted(p.log_p(load(a, i)), q.log_p(load(b, i)), 0.0);
  });
}
