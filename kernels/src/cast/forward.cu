// y = x, in another type: `narrow` from float to bf16, `widen` back. To nearest, ties to even; exact on the way back.
//
// Mapping: a launch has up to 64 tensors (a network's parameters are many and small), each in blocks of 1024 elements, four
// neighbours per thread. Bytes: 4 and 2 per element. The gradient is the other direction; `add` adds to what is there.
#include "storage.cuh"

struct Tensor {
  const void* x;
  void* y;
  unsigned long long count, add;
};

// As engine/src/device/cuda/pieces.rs gives them.
struct Tensors {
  unsigned long long count, first[64];
  Tensor tensor[64];
};

__device__ __forceinline__ float read(const float* p) { return *p; }
__device__ __forceinline__ float read(const unsigned short* p) { return float_of_bf16(*p); }
__device__ __forceinline__ void write(float* p, float x) { *p = x; }
__device__ __forceinline__ void write(unsigned short* p, float x) { *p = bf16_of_float(x); }

// Four neighbours at once.
__device__ __forceinline__ void convert4(const float* x, unsigned short* y) {
  float4 v = *(const float4*)x;
  *(uint2*)y = make_uint2(bf16_pair(v.x, v.y), bf16_pair(v.z, v.w));
}
__device__ __forceinline__ void convert4(const unsigned short* x, float* y) {
  ushort4 v = *(const ushort4*)x;
  *(float4*)y = make_float4(float_of_bf16(v.x), float_of_bf16(v.y), float_of_bf16(v.z), float_of_bf16(v.w));
}

template <typename From, typename To>
__device__ __forceinline__ void convert(const Tensors& p) {
  unsigned at = 0;
  while (at + 1 < p.count && p.first[at + 1] <= blockIdx.x) at++;
  const Tensor& t = p.tensor[at];
  size_t i = (blockIdx.x - p.first[at]) * 1024 + 4 * threadIdx.x;
  const From* x = (const From*)t.x;
  To* y = (To*)t.y;
  if (!t.add && i + 3 < t.count) {
    convert4(x + i, y + i);
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; e++)
    if (i + e < t.count) write(y + i + e, t.add ? read(y + i + e) + read(x + i + e) : read(x + i + e));
}

extern "C" __global__ void __launch_bounds__(256) narrow(const __grid_constant__ Tensors p) {
  convert<float, unsigned short>(p);
}
extern "C" __global__ void __launch_bounds__(256) widen(const __grid_constant__ Tensors p) {
  convert<unsigned short, float>(p);
}
