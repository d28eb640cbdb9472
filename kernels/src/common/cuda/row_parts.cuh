// A row in the registers of a warp: a lane holds parts of four columns, 128 columns apart. With `quads` the four are
// neighbours and one access; rows must then begin and end at multiples of four. Without, they are 32 columns apart.
#pragma once
#include "storage.cuh"

template <bool quads>
struct Part {
  unsigned first, width;

  __device__ __forceinline__ Part(int part, unsigned lane, unsigned width)
      : first(128 * part + (quads ? 4 : 1) * lane), width(width) {}

  // Whether the part's element lies in the row.
  __device__ __forceinline__ bool has(int element) const { return first + (quads ? 0 : 32 * element) < width; }

  // Zeros outside of the row.
  __device__ __forceinline__ float4 read(const real* row) const {
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if constexpr (quads) {
      if (has(0)) v = load4(row, first);
    } else {
      if (has(0)) v.x = load(row, first);
      if (has(1)) v.y = load(row, first + 32);
      if (has(2)) v.z = load(row, first + 64);
      if (has(3)) v.w = load(row, first + 96);
    }
    return v;
  }

  __device__ __forceinline__ void write(real* row, float4 v, bool add) const {
    if constexpr (quads) {
      if (!has(0)) return;
      if (add) {
        float4 old = load4(row, first);
        v = make_float4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w);
      }
      store4(row, first, v);
    } else {
      if (has(0)) put(row, first, v.x, add);
      if (has(1)) put(row, first + 32, v.y, add);
      if (has(2)) put(row, first + 64, v.z, add);
      if (has(3)) put(row, first + 96, v.w, add);
    }
  }

  // The same to floats, whatever tensors are stored in.
  __device__ __forceinline__ void write_floats(float* row, float4 v) const {
    if constexpr (quads) {
      if (has(0)) *(float4*)(row + first) = v;
    } else {
      if (has(0)) row[first] = v.x;
      if (has(1)) row[first + 32] = v.y;
      if (has(2)) row[first + 64] = v.z;
      if (has(3)) row[first + 96] = v.w;
    }
  }
};

__device__ __forceinline__ float sum_of(float4 v) { return (v.x + v.y) + (v.z + v.w); }
__device__ __forceinline__ float4 plus(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ __forceinline__ float4 times(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}
// a b + c.
__device__ __forceinline__ float4 times_plus(float4 a, float4 b, float4 c) {
  return make_float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w));
}
// (x - mean) rstd.
__device__ __forceinline__ float4 normalised(float4 x, float mean, float rstd) {
  return make_float4((x.x - mean) * rstd, (x.y - mean) * rstd, (x.z - mean) * rstd, (x.w - mean) * rstd);
}
