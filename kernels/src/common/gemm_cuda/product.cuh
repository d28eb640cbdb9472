// A product as kernels take it, and images as matrices of their patches.
#pragma once
#include "storage.cuh"

// As Params of mod.rs.
struct Product {
  const real *a, *b, *bias;
  const real* times;  // as C: a factor of the result
  real* c;
  real* c_slope;  // as C: where the derivative of the activation goes
  float* sums;    // [parts, m, n] where k is divided
  float* a_sums;  // [parts, m]: sums of A along k, one part where k is not divided
  unsigned long long a_batch, b_batch, c_batch;  // elements of one batch
  unsigned m, n, k, chunk;
  unsigned activation, add;
  unsigned image;  // 0, or which of A, B, C lies in an image: 1, 2, 3
  unsigned across, down, side, channels;  // patches, pixels of one, and planes of the image
  unsigned count;  // batches, or parts of k
};

// Where the patches' matrix [image and patch, channel and y and x] has an element.
__device__ __forceinline__ size_t in_image(const Product& p, size_t row, unsigned column) {
  unsigned patches = p.across * p.down;
  size_t image = row / patches;
  unsigned patch = row % patches, pixel = column % (p.side * p.side);
  size_t plane = image * p.channels + column / (p.side * p.side);
  size_t y = (size_t)(patch / p.across) * p.side + pixel / p.side;
  return (plane * p.down * p.side + y) * ((size_t)p.across * p.side) + patch % p.across * p.side + pixel % p.side;
}

__device__ __forceinline__ size_t at(const Product& p, unsigned operand, size_t row, unsigned column, size_t width) {
  return p.image == operand ? in_image(p, row, column) : row * width + column;
}

// A tile's row and column among `rows` x `columns` tiles: eight rows of tiles at a time, column by column.
__device__ __forceinline__ uint2 tile_of(unsigned block, unsigned rows, unsigned columns) {
  unsigned group = block / (8 * columns), first = 8 * group, rest = block % (8 * columns);
  unsigned height = min(rows - first, 8u);
  return make_uint2(first + rest % height, rest / height);
}
