// Tensors in memory: `real` is float, or the bits of bf16 where VITRUM_BF16 is defined. Arithmetic is in float either way:
// load widens, store rounds to nearest, ties to even.
#pragma once
#include "ptx.cuh"

#ifdef VITRUM_BF16
typedef unsigned short real;
__device__ __forceinline__ float load(const real* p, size_t i) { return float_of_bf16(p[i]); }
__device__ __forceinline__ void store(real* p, size_t i, float x) { p[i] = bf16_of_float(x); }
// Four neighbours; i and the tensor's begin are multiples of 4.
__device__ __forceinline__ float4 load4(const real* p, size_t i) {
  ushort4 v = *(const ushort4*)(p + i);
  return make_float4(float_of_bf16(v.x), float_of_bf16(v.y), float_of_bf16(v.z), float_of_bf16(v.w));
}
__device__ __forceinline__ void store4(real* p, size_t i, float4 v) {
  *(uint2*)(p + i) = make_uint2(bf16_pair(v.x, v.y), bf16_pair(v.z, v.w));
}
#else
typedef float real;
__device__ __forceinline__ float load(const real* p, size_t i) { return p[i]; }
__device__ __forceinline__ void store(real* p, size_t i, float x) { p[i] = x; }
__device__ __forceinline__ float4 load4(const real* p, size_t i) { return *(const float4*)(p + i); }
__device__ __forceinline__ void store4(real* p, size_t i, float4 v) { *(float4*)(p + i) = v; }
#endif

// A gradient's element: its first contribution, or one more.
__device__ __forceinline__ void put(real* p, size_t i, float x, bool add) { store(p, i, add ? load(p, i) + x : x); }

// The element of a thread in a grid of one dimension.
__device__ __forceinline__ size_t thread_index() { return blockIdx.x * (size_t)blockDim.x + threadIdx.x; }
