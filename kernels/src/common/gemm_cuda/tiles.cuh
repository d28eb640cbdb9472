// Tiles of a product's operands: from memory to shared memory, 16 bytes at a time and swizzled, and from there to the
// fragments of mma.sync.
#pragma once
#include "bf16.cuh"
#include "product.cuh"

constexpr int depth = 32;  // steps of k of a tile
constexpr unsigned bf16_ones = 0x3f803f80;

// A part of a matrix: its first row and column, and where the matrix ends.
struct Part {
  unsigned row, column, rows, columns;
};

// Eight elements of the patches' matrix: a run within a patch's row, or two.
__device__ __forceinline__ void copy_from_image(const Product& p, real* to, const real* image, unsigned row,
                                                unsigned column, bool inside) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const real* from = image + (inside ? in_image(p, row, column + 4 * half) : 0);
    copy_async_8_or_zero(to + 4 * half, from, inside);
  }
}

// A tile [height, width] of operand 1 (A) or 2 (B), whose rows in memory have `pitch` elements; zero outside. `images`: one of
// them may lie in an image.
template <bool images, int operand, int height, int width, int threads>
__device__ __forceinline__ void load_tile(const Product& p, real* tile, const real* from, Part part, size_t pitch) {
  constexpr int eighths = width / 8;
  static_assert(height * eighths % threads == 0, "every thread copies as much");
#pragma unroll
  for (int i = 0; i < height * eighths / threads; i++) {
    unsigned e = threadIdx.x + threads * i, r = e / eighths, c = e % eighths;
    unsigned row = part.row + r, column = part.column + 8 * c;
    bool inside = row < part.rows && column < part.columns;
    real* to = tile + swizzled<width>(r, c);
    if (images && p.image == operand)
      copy_from_image(p, to, from, row, column, inside);
    else
      copy_async_16_or_zero(to, inside ? from + row * pitch + column : from, inside);
  }
}

// A's fragment of rows row .. row + 15 and steps 16 step .. 16 step + 15.
template <bool across, int tile_m>
__device__ __forceinline__ void load_a(unsigned (&a)[4], const real* tile, unsigned row, unsigned step) {
  unsigned lane = threadIdx.x % 32, r = lane % 8, low = lane / 8 % 2, high = lane / 16;
  if (across)
    load_matrix_x4_transposed(a, tile + swizzled<tile_m>(16 * step + 8 * high + r, row / 8 + low));
  else
    load_matrix_x4(a, tile + swizzled<depth>(row + 8 * low + r, 2 * step + high));
}

// B's fragments of columns column .. column + 7 (the first two registers) and the next eight.
template <bool along, int tile_n>
__device__ __forceinline__ void load_b(unsigned (&b)[4], const real* tile, unsigned column, unsigned step) {
  unsigned lane = threadIdx.x % 32, r = lane % 8, low = lane / 8 % 2, high = lane / 16;
  if (along)
    load_matrix_x4(b, tile + swizzled<depth>(column + 8 * high + r, 2 * step + low));
  else
    load_matrix_x4_transposed(b, tile + swizzled<tile_n>(16 * step + 8 * low + r, column / 8 + high));
}
