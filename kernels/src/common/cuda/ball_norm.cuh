// The norm of a sample's vector that one block has for itself: Linf, or L2 where `square`. All threads of the block must call, and all
// receive the result. Order of sums: thread t adds elements t, t + 256, .. in double, then as block_sum.
#pragma once
#include "reduce.cuh"

// Of numbers that are not negative; NaN is left out.
__device__ __forceinline__ double block_max(double x, double* parts) {
  for (int step = 16; step > 0; step >>= 1) x = fmax(x, __shfl_xor_sync(~0u, x, step));
  __syncthreads();  // an earlier result may still be read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  double most = 0.0;
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) most = fmax(most, parts[warp]);
  return most;
}

template <class Value>
__device__ __forceinline__ double ball_norm(Value value, size_t width, bool square, double* parts) {
  double most = 0.0, squares = 0.0;
  for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
    double v = value(i);
    most = fmax(most, fabs(v));
    squares = fma(v, v, squares);
  }
  return square ? sqrt(block_sum(squares, parts)) : block_max(most, parts);
}
