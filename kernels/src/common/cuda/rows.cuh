// Rows of logits, one warp each: softmax as common/rows.rs computes it, in double, and selection of largest values.
// All lanes of the warp call and all receive the result. Column k belongs to lane k % 32; a lane's columns are summed in
// order, then a tree goes over the lanes.
#pragma once
#include "reduce.cuh"
#include "storage.cuh"

struct Row {
  size_t index, start;  // its number, and its first element
  unsigned width, lane;
};

// The row of this warp in a grid of one dimension.
__device__ __forceinline__ Row row_of_warp(unsigned width) {
  size_t index = blockIdx.x * (size_t)(blockDim.x / 32) + threadIdx.x / 32;
  return {index, index * width, width, threadIdx.x % 32};
}

// Calls `work` for each of the lane's columns.
template <class Work>
__device__ __forceinline__ void for_columns(const Row& row, Work work) {
  for (unsigned k = row.lane; k < row.width; k += 32) work(k);
}

// Sum of `term(k)` over the columns.
template <class Term>
__device__ __forceinline__ double row_sum(const Row& row, Term term) {
  double sum = 0.0;
  for_columns(row, [&](unsigned k) { sum += term(k); });
  return warp_sum(sum);
}

// log p = (z - max) - log_sum. In double: the gradient p - 1 of a confident row keeps its digits.
struct LogSoftmax {
  double max, log_sum;
  __device__ __forceinline__ double log_p(float z) const { return ((double)z - max) - log_sum; }
  __device__ __forceinline__ double p(float z) const { return exp(log_p(z)); }
};

// NaN anywhere in the row, and a row without a finite maximum, give NaN everywhere.
__device__ __forceinline__ LogSoftmax log_softmax(const real* z, const Row& row) {
  float most = __int_as_float(0xff800000);
  for_columns(row, [&](unsigned k) {
    float x = load(z, row.start + k);
    if (x > most || isnan(x)) most = x;
  });
  double max = warp_max(most);
  return {max, log(row_sum(row, [&](unsigned k) { return exp((double)load(z, row.start + k) - max); }))};
}

// The column of the largest logit among those that `skip(k)` leaves; of equals the first. NaN is never chosen; ~0 where
// nothing is left.
template <class Skip>
__device__ __forceinline__ unsigned largest(const real* z, const Row& row, Skip skip) {
  float most = __int_as_float(0xff800000);
  unsigned best = ~0u;
  for_columns(row, [&](unsigned k) {
    float x = load(z, row.start + k);
    // The first of a row may be -inf itself.
    if (!skip(k) && (x > most || (x == most && k < best))) most = x, best = k;
  });
  for (int step = 16; step > 0; step >>= 1) {
    float x = __shfl_xor_sync(~0u, most, step);
    unsigned k = __shfl_xor_sync(~0u, best, step);
    if (x > most || (x == most && k < best)) most = x, best = k;
  }
  return best;
}

// The column of the largest logit but the label's. NaN in the first column that is no label's counts as the largest, and
// as nothing elsewhere: so it comes out of comparisons one by one.
__device__ __forceinline__ unsigned runner_up(const real* z, const Row& row, unsigned label) {
  unsigned first = label == 0 ? 1 : 0;
  if (isnan(load(z, row.start + first))) return first;
  return largest(z, row, [&](unsigned k) { return k == label; });
}

// What a label that names no class gives: there is nobody to report it to.
__device__ __forceinline__ float not_a_number() { return __int_as_float(0x7fffffff); }
__device__ __forceinline__ void put_nans(real* gradient, const Row& row) {
  for_columns(row, [&](unsigned k) { store(gradient, row.start + k, not_a_number()); });
}
