// Sums and maxima over a warp or a block, in a fixed order: the same bits in every run. All lanes, and all threads of the
// block, must call, and all receive the result. A block has whole warps.
#pragma once

template <class Number>
__device__ __forceinline__ Number warp_sum(Number x) {
  for (int step = 16; step > 0; step >>= 1) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// NaN in any lane gives NaN.
__device__ __forceinline__ float warp_max(float x) {
  for (int step = 16; step > 0; step >>= 1) {
    float other = __shfl_xor_sync(~0u, x, step);
    x = other > x || isnan(other) ? other : x;
  }
  return x;
}

// `parts` is shared memory for one number per warp; it may be used again after the next barrier.
template <class Number>
__device__ __forceinline__ Number block_sum(Number x, Number* parts) {
  x = warp_sum(x);
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  Number sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) sum += parts[warp];
  return sum;
}
