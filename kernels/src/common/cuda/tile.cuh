// Tiles of bf16 in shared memory as operands of multiply_bf16.
#pragma once
#include "bf16.cuh"

// Rows of `width` elements, a multiple of 16, swizzled.
template <int width>
struct Tile {
  static constexpr int chunks = width / 8;  // of 16 bytes, in a row
  real* first;

  __device__ __forceinline__ real* at(unsigned row, unsigned chunk) const { return first + swizzled<width>(row, chunk); }
};

// Starts copies of the first `there` of `count` rows to the tile's begin, and of zeros to the others.
template <int width>
__device__ __forceinline__ void copy_rows(Tile<width> tile, const real* rows, size_t stride, unsigned count,
                                          unsigned there) {
  constexpr unsigned chunks = Tile<width>::chunks;
  for (unsigned i = threadIdx.x; i < count * chunks; i += blockDim.x) {
    unsigned row = i / chunks, chunk = i % chunks;
    bool whole = row < there;
    copy_async_16_or_zero(tile.at(row, chunk), rows + (whole ? row * stride + chunk * 8 : 0), whole);
  }
}

// 16 rows from `row` on (a multiple of 16) and 16 columns from 8 `chunk` on (even), as operands. All lanes of the warp
// call.

// a: the tile's rows are its rows.
template <int width>
__device__ __forceinline__ void rows_left(unsigned (&a)[4], Tile<width> tile, unsigned row, unsigned chunk) {
  unsigned lane = threadIdx.x % 32;
  load_matrix_x4(a, tile.at(row + lane % 16, chunk + lane / 16));
}
// a: the tile's columns are its rows.
template <int width>
__device__ __forceinline__ void columns_left(unsigned (&a)[4], Tile<width> tile, unsigned row, unsigned chunk) {
  unsigned lane = threadIdx.x % 32;
  load_matrix_x4_transposed(a, tile.at(row + lane % 8 + lane / 16 * 8, chunk + lane / 8 % 2));
}
// b of two products: the tile's rows are its columns, the first eight in b[0] and b[1].
template <int width>
__device__ __forceinline__ void rows_right(unsigned (&b)[4], Tile<width> tile, unsigned row, unsigned chunk) {
  unsigned lane = threadIdx.x % 32;
  load_matrix_x4(b, tile.at(row + lane % 8 + lane / 16 * 8, chunk + lane / 8 % 2));
}
// b of two products: the tile's columns are its columns.
template <int width>
__device__ __forceinline__ void columns_right(unsigned (&b)[4], Tile<width> tile, unsigned row, unsigned chunk) {
  unsigned lane = threadIdx.x % 32;
  load_matrix_x4_transposed(b, tile.at(row + lane % 16, chunk + lane / 16));
}

// Two products with b of rows_right or columns_right: 16 columns.
__device__ __forceinline__ void multiply_two(float (&d)[2][4], const unsigned (&a)[4], const unsigned (&b)[4]) {
  multiply_bf16(d[0], a, {b[0], b[1]});
  multiply_bf16(d[1], a, {b[2], b[3]});
}

// Sums [16, 16] of a product as the operand a of the next one, rounded.
__device__ __forceinline__ void narrow(unsigned (&a)[4], const float (&d)[2][4]) {
  a[0] = bf16_pair(d[0][0], d[0][1]);
  a[1] = bf16_pair(d[0][2], d[0][3]);
  a[2] = bf16_pair(d[1][0], d[1][1]);
  a[3] = bf16_pair(d[1][2], d[1][3]);
}
