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
