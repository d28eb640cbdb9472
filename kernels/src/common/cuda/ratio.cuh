// The entries of a row of logits that the difference of logits ratio selects, by a warp.
#pragma once
#include "rows.cuh"

struct Ratio {
  unsigned other, first, third;  // columns: the largest but the label's, the largest, the third; of equals the first
  double numerator, denominator;
};

// Columns of the three largest logits of a row of at least three, largest first. NaN among the first three columns keeps
// its rank, as in comparisons one by one, and what is ranked before it; elsewhere it is never chosen.
__device__ __forceinline__ void largest_three(const real* z, const Row& row, unsigned (&top)[3]) {
  float a = load(z, row.start), b = load(z, row.start + 1), c = load(z, row.start + 2);
  bool second = b > a;
  float high = second ? b : a, low = second ? a : b;
  bool past_low = c > low, past_high = past_low && c > high;
  top[0] = past_high ? 2 : second;
  top[1] = past_high ? second : past_low ? 2 : !second;
  top[2] = past_low ? !second : 2;
  int kept = 0;
#pragma unroll
  for (int rank = 0; rank < 3; rank++)
    if (isnan(load(z, row.start + top[rank]))) kept = rank + 1;
#pragma unroll
  for (int rank = 0; rank < 3; rank++)
    if (rank >= kept)
      top[rank] = largest(z, row, [&](unsigned k) { return (rank > 0 && k == top[0]) || (rank > 1 && k == top[1]); });
}

// `tiny` keeps the ratio finite where the three largest are equal.
__device__ __forceinline__ Ratio ratio_of(const real* z, const Row& row, unsigned label, double tiny) {
  unsigned top[3];
  largest_three(z, row, top);
  auto logit = [&](unsigned k) { return (double)load(z, row.start + k); };
  unsigned other = top[0] == label ? top[1] : top[0];
  return {other, top[0], top[2], logit(other) - logit(label), logit(top[0]) - logit(top[2]) + tiny};
}
