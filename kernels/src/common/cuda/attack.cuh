// What attack steps share: the box of images, and blocks that share a sample.
#pragma once
#include "reduce.cuh"
#include "storage.cuh"

// `delta` such that the perturbed pixel stays in [0, 1]. As on the CPU NaN becomes the lower end: fmaxf gives the other one.
__device__ __forceinline__ float into_box(float delta, float image) {
  return fminf(fmaxf(delta, 0.0f - image), 1.0f - image);
}

constexpr unsigned CHUNK = 2048;  // as in kernels/src/common/cuda.rs

// What a block handles: elements begin .. end of a sample.
struct Part {
  size_t sample, begin, end;
};

__device__ __forceinline__ size_t chunks_of(size_t width) { return (width + CHUNK - 1) / CHUNK; }

__device__ __forceinline__ Part part_of(size_t width) {
  size_t begin = blockIdx.x % chunks_of(width) * CHUNK;
  return {blockIdx.x / chunks_of(width), begin, min(begin + CHUNK, width)};
}

// The sum over a sample from the sums of its blocks: thread t adds those of blocks t, t + 256, ..., then as block_sum.
__device__ __forceinline__ double sample_sum(const double* sums, size_t sample, size_t width, double* parts) {
  double sum = 0.0;
  for (size_t i = threadIdx.x; i < chunks_of(width); i += blockDim.x) sum += sums[sample * chunks_of(width) + i];
  return block_sum(sum, parts);
}
