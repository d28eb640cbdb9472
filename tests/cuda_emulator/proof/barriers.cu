// Proofs about barriers and races on shared memory.
#include "twins.cuh"

// y[i] = x[63 - i] through shared memory: the other half of the block writes what this half reads.
template <bool broken>
__device__ void missing_syncthreads(const float* x, float* y) {
  __shared__ float tile[64];
  int i = threadIdx.x;
  tile[i] = x[i];
  if (!broken) __syncthreads();
  y[i] = tile[63 - i];  // CAUGHT: missing_syncthreads
}
TWINS(missing_syncthreads, (const float* x, float* y), (x, y))

// The sum of 4 tiles of 64, mirrored; the second barrier keeps the next tile out until this one has been read.
template <bool broken>
__device__ void missing_second_barrier(const float* x, float* y) {
  __shared__ float tile[64];
  int i = threadIdx.x;
  float sum = 0.0f;
  for (int k = 0; k < 4; k++) {
    tile[i] = x[64 * k + i];  // CAUGHT: missing_second_barrier
    __syncthreads();
    sum += tile[63 - i];
    if (!broken) __syncthreads();
  }
  y[i] = sum;
}
TWINS(missing_second_barrier, (const float* x, float* y), (x, y))

// Neighbours within a warp exchange through shared memory; a shuffle between orders nothing.
template <bool broken>
__device__ void missing_syncwarp(const float* x, float* y) {
  __shared__ float tile[64];
  int i = threadIdx.x;
  tile[i] = x[i];
  if (broken) {
    __shfl_sync(0xffffffff, i, 0);
  } else {
    __syncwarp();
  }
  y[i] = tile[i ^ 1];  // CAUGHT: missing_syncwarp
}
TWINS(missing_syncwarp, (const float* x, float* y), (x, y))

// Two threads write one element.
template <bool broken>
__device__ void write_write_race(const float* x, float* y) {
  __shared__ float tile[64];
  int i = threadIdx.x;
  int at = broken ? i / 2 : i;
  tile[at] = x[i];  // CAUGHT: write_write_race
  __syncthreads();
  y[i] = tile[i];
}
TWINS(write_write_race, (const float* x, float* y), (x, y))

// Counting with a plain addition instead of an atomic one.
template <bool broken>
__device__ void plain_increment(const float* x, int* y) {
  __shared__ int count;
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  if (x[threadIdx.x] > 0.0f) {
    if (broken) {
      count += 1;  // CAUGHT: plain_increment
    } else {
      atomicAdd(&count, 1);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) y[0] = count;
}
TWINS(plain_increment, (const float* x, int* y), (x, y))

// The two warps take different barriers.
template <bool broken>
__device__ void divergent_barrier(const float* x, float* y) {
  __shared__ float tile[64];
  int i = threadIdx.x;
  tile[i] = x[i];
  if (broken && i >= 32) {
    y[i] = 0.0f;
    __syncthreads();  // CAUGHT: divergent_barrier
  } else {
    __syncthreads();
  }
  y[i] = tile[63 - i];
}
TWINS(divergent_barrier, (const float* x, float* y), (x, y))

// Some threads skip the barrier and wait in a shuffle for those who don't.
template <bool broken>
__device__ void skipped_barrier(const float* x, float* y) {
  int i = threadIdx.x;
  float v = x[i];
  if (!broken || i % 2) __syncthreads();  // CAUGHT: skipped_barrier
  y[i] = __shfl_xor_sync(0xffffffff, v, 1);
}
TWINS(skipped_barrier, (const float* x, float* y), (x, y))

// Reads more of the tile than was written.
template <bool broken>
__device__ void uninitialised_shared(const float* x, float* y) {
  __shared__ float tile[80];
  int i = threadIdx.x;
  tile[i] = x[i];
  __syncthreads();
  y[i] = tile[i + (broken ? 1 : 0)];  // CAUGHT: uninitialised_shared
}
TWINS(uninitialised_shared, (const float* x, float* y), (x, y))

// One past the end of a shared array, where another array begins on the device.
template <bool broken>
__device__ void past_shared(const float* x, float* y) {
  __shared__ float tile[64];
  __shared__ float next[64];
  int i = threadIdx.x;
  tile[i] = x[i];
  next[i] = 0.0f;
  __syncthreads();
  const float* at = tile + i + (broken ? 1 : 0);
  y[i] = *at + next[i];  // CAUGHT: past_shared
}
TWINS(past_shared, (const float* x, float* y), (x, y))

// A row of 16 read with a column of 16.
template <bool broken>
__device__ void past_row(const float* x, float* y) {
  __shared__ float tile[4][16];
  int i = threadIdx.x;
  tile[i / 16][i % 16] = x[i];
  __syncthreads();
  int column = broken ? i % 16 + 1 : i % 16;
  y[i] = tile[i / 16][column];  // CAUGHT: past_row
}
TWINS(past_row, (const float* x, float* y), (x, y))

// Healthy: the compiler makes a copy of each barrier and shuffle for either side of the conditions, and threads meet in
// different copies. They are one call in the source.
extern "C" __global__ void copied_calls(const float* x, float* y) {
  __shared__ float tile[64];
  int i = threadIdx.x;
  bool low = i < 20;
  float v = 0.0f;
  if (low) v = x[i];
  __syncthreads();
  if (low) tile[i] = v;
  __syncthreads();
  if (!low) v = 3.0f;
  v += __shfl_xor_sync(0xffffffff, v, 1);
  if (low) {
    y[i] = tile[19 - i] + v;
  } else {
    y[i] = v;
  }
}
