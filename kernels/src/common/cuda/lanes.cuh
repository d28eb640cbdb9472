// Elementwise kernels with four elements per thread: one vector access where four neighbours may be touched at once, single
// ones elsewhere. Blocks have 256 threads and 1024 elements; the host's grids are flat_grid and row_grid of
// kernels/src/common/cuda.rs. Tensors begin at multiples of 256 bytes.
//
// Work is a function of the first element and of a pack to be filled: [=](size_t i, Pack v) { fetch(v, x, i); ... }. Where it
// is inlined `lanes` is a constant, and arithmetic on lanes that are not there is gone.
#pragma once
#include "storage.cuh"

// Neighbouring elements: four, or one and zeros.
struct Pack {
  int lanes;
  float at[4];
};

__device__ __forceinline__ Pack pack(int lanes, float x) { return {lanes, {x, x, x, x}}; }

__device__ __forceinline__ void fetch(Pack& v, const real* p, size_t i) {
  if (v.lanes == 4) {
    float4 four = load4(p, i);
    v.at[0] = four.x, v.at[1] = four.y, v.at[2] = four.z, v.at[3] = four.w;
  } else {
    v.at[0] = load(p, i);
  }
}

__device__ __forceinline__ void keep(real* p, size_t i, const Pack& v) {
  if (v.lanes == 4)
    store4(p, i, make_float4(v.at[0], v.at[1], v.at[2], v.at[3]));
  else
    store(p, i, v.at[0]);
}

// v + p, lane by lane.
__device__ __forceinline__ void fetch_more(Pack& v, const real* p, size_t i) {
  Pack w = v;
  fetch(w, p, i);
  for (int k = 0; k < 4; k++) v.at[k] += w.at[k];
}

// Elements of a gradient: their first contribution, or one more.
__device__ __forceinline__ void put(real* p, size_t i, Pack v, bool add) {
  if (add) fetch_more(v, p, i);
  keep(p, i, v);
}

// The 1024 elements from `first` on, as far as there are `count`. With `fours`, which first and every tensor's begin must
// allow, a thread has four neighbours, and what is left of four one by one.
template <class Work>
__device__ __forceinline__ void each_of_block(size_t first, size_t count, bool fours, Work work) {
  if (fours) {
    size_t i = first + 4 * threadIdx.x;
    if (i + 4 <= count)
      work(i, pack(4, 0.0f));
    else
      for (; i < count; i++) work(i, pack(1, 0.0f));
  } else {
    for (int k = 0; k < 4; k++) {
      size_t i = first + 256 * k + threadIdx.x;
      if (i < count) work(i, pack(1, 0.0f));
    }
  }
}

// All elements of flat tensors.
template <class Work>
__device__ __forceinline__ void each(size_t count, Work work) {
  each_of_block(blockIdx.x * (size_t)1024, count, true, work);
}

// All elements of tensors in rows of `width`, which no pack crosses.
template <class Work>
__device__ __forceinline__ void each_within_rows(size_t count, size_t width, Work work) {
  each_of_block(blockIdx.x * (size_t)1024, count, width % 4 == 0, work);
}

// Tensors in rows where a block has elements of one row only: which, and the elements. For long rows.
__device__ __forceinline__ size_t row_of_block(size_t width) { return blockIdx.x / ((width + 1023) / 1024); }
template <class Work>
__device__ __forceinline__ void each_of_row(size_t width, Work work) {
  size_t row = row_of_block(width), first = (blockIdx.x - row * ((width + 1023) / 1024)) * 1024;
  each_of_block(first, width, width % 4 == 0, [=](size_t i, Pack v) { work(row * width + i, v); });
}
