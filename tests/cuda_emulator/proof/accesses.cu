// Proofs about global memory and vector accesses.
#include "twins.cuh"

// y[i] = x[i] + x[i + 1], cyclic.
template <bool broken>
__device__ void off_by_one_read(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int next = broken || i + 1 < n ? i + 1 : 0;
  y[i] = x[i] + x[next];  // CAUGHT: off_by_one_read
}
TWINS(off_by_one_read, (const float* x, float* y, int n), (x, y, n))

// y[i] = x[i] + x[i - 1], cyclic.
template <bool broken>
__device__ void read_before(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int last = broken || i > 0 ? i - 1 : n - 1;
  y[i] = x[i] + x[last];  // CAUGHT: read_before
}
TWINS(read_before, (const float* x, float* y, int n), (x, y, n))

template <bool broken>
__device__ void off_by_one_write(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n || (broken && i == n)) {
    float v = i < n ? x[i] : 0.0f;
    y[i] = v;  // CAUGHT: off_by_one_write
  }
}
TWINS(off_by_one_write, (const float* x, float* y, int n), (x, y, n))

template <bool broken>
__device__ void unmasked_tail(const unsigned char* x, unsigned char* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (!broken && i >= n) return;
  y[i] = x[i < n ? i : 0];  // CAUGHT: unmasked_tail
}
TWINS(unmasked_tail, (const unsigned char* x, unsigned char* y, int n), (x, y, n))

// Accumulates into a buffer that nobody has zeroed.
template <bool broken>
__device__ void uninitialised_global(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float before = broken ? y[i] : 0.0f;  // CAUGHT: uninitialised_global
  y[i] = before + x[i];
}
TWINS(uninitialised_global, (const float* x, float* y, int n), (x, y, n))

// Four elements at once, from an address that is not a multiple of 16.
template <bool broken>
__device__ void misaligned_vector(const float* x, float* y, int n) {
  int i = 4 * threadIdx.x;
  const float* row = x + (broken && i > 0 ? i - 2 : i);
  float4 v = *reinterpret_cast<const float4*>(row);  // CAUGHT: misaligned_vector
  *reinterpret_cast<float4*>(y + i) = v;
}
TWINS(misaligned_vector, (const float* x, float* y, int n), (x, y, n))

// A shared array of floats is aligned to 4 bytes unless it says otherwise, whatever the compiler happens to do today.
template <bool broken>
__device__ void unaligned_shared(const float* x, float* y, int n) {
  __shared__ float loose[256];
  __shared__ __align__(16) float aligned[256];
  float* tile = broken ? loose : aligned;
  for (int k = 0; k < 4; k++) tile[4 * threadIdx.x + k] = x[4 * threadIdx.x + k];
  float4 v = *reinterpret_cast<float4*>(tile + 4 * threadIdx.x);  // CAUGHT: unaligned_shared
  *reinterpret_cast<float4*>(y + 4 * threadIdx.x) = v;
}
TWINS(unaligned_shared, (const float* x, float* y, int n), (x, y, n))

// Column sums in parts: one block for each 16 rows of x [64, 32], and a second launch adds the parts. Broken, all
// blocks add into one.
template <bool broken>
__device__ void blocks_share(const float* x, float* part) {
  int column = threadIdx.x;
  float sum = 0.0f;
  for (int row = 0; row < 16; row++) sum += x[(16 * blockIdx.x + row) * 32 + column];
  part[(broken ? 0 : blockIdx.x) * 32 + column] = sum;  // CAUGHT: blocks_share
}
TWINS(blocks_share, (const float* x, float* part), (x, part))

// Threads of one block hand over through global memory.
template <bool broken>
__device__ void threads_share(const float* x, float* y, int n) {
  int i = threadIdx.x;
  y[i] = x[i];
  if (!broken) __syncthreads();
  float next = y[(i + 1) % 64];  // CAUGHT: threads_share
  __syncthreads();
  y[i] = next;
}
TWINS(threads_share, (const float* x, float* y, int n), (x, y, n))

// The last block to finish adds the parts of all: legal, with a fence and a counter. done: [1], zero. y: [1]
extern "C" __global__ void last_block(const float* x, float* part, unsigned* done, float* y) {
  __shared__ bool last;
  int i = threadIdx.x;
  part[blockIdx.x * 32 + i] = x[blockIdx.x * 32 + i];
  __threadfence();
  __syncthreads();
  if (i == 0) last = atomicAdd(done, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last || i != 0) return;
  float sum = 0.0f;
  for (unsigned k = 0; k < gridDim.x * 32; k++) sum += part[k];
  *y = sum;
}

// Used by the proofs of the driver: y += x.
extern "C" __global__ void add_to(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] += x[i];  // CAUGHT: use_after_free
}

// Mirrors each block's part through dynamic shared memory.
extern "C" __global__ void __launch_bounds__(128) mirror(const float* x, float* y) {
  extern __shared__ float tile[];
  int i = threadIdx.x, last = blockDim.x - 1;
  tile[i] = x[blockIdx.x * blockDim.x + i];
  __syncthreads();
  y[blockIdx.x * blockDim.x + i] = tile[last - i];
}
