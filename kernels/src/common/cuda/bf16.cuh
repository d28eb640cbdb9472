// For kernels of tensor cores: tensors are stored in bf16, and sums are kept in float.
#pragma once
#include "storage.cuh"

#ifndef VITRUM_BF16
#error "tensor cores multiply bf16 here; tensors in float take the general kernels"
#endif

// Eight neighbours: 16 bytes of a tensor. Index and the tensor's begin are multiples of 8.
struct Eight {
  float v[8];
};

__device__ __forceinline__ Eight widen8(uint4 bits) {
  const unsigned pairs[4] = {bits.x, bits.y, bits.z, bits.w};
  Eight x;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    x.v[2 * i] = __uint_as_float(pairs[i] << 16);
    x.v[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000);
  }
  return x;
}

__device__ __forceinline__ Eight load8(const real* p, size_t i) { return widen8(*(const uint4*)(p + i)); }

__device__ __forceinline__ void store8(real* p, size_t i, const Eight& x) {
  *(uint4*)(p + i) = make_uint4(bf16_pair(x.v[0], x.v[1]), bf16_pair(x.v[2], x.v[3]), bf16_pair(x.v[4], x.v[5]),
                                bf16_pair(x.v[6], x.v[7]));
}

// Where a tile of shared memory has 8 elements, 16 bytes, of a row of `width`, a multiple of 16: swizzled, so that the
// eight rows of a matrix that ldmatrix reads lie in different banks, without padding.
template <int width>
__device__ __forceinline__ unsigned swizzled(unsigned row, unsigned eighth) {
  static_assert(width % 16 == 0, "rows hold matrices of 16 columns");
  // Eighths change places within groups, whose size divides rows into equal parts and 128 bytes as well.
  constexpr int group = width % 64 == 0 ? 8 : width % 32 == 0 ? 4 : 2;
  return row * width + 8 * (eighth ^ row / (8 / group) % group);
}
