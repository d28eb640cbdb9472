// C = act(A B + bias) times a factor, by tensor cores, with C in an image as its patches where it is; and sums of A along k.
//
// Mapping: a block makes a tile of C; its warps share it in a grid and have 16 x 8 pieces of it in registers. 32 steps of k
// at a time come into shared memory by asynchronous copies of 16 bytes, three such stages ahead of the one in use; matrices
// of 8 x 8 go to registers by ldmatrix, transposed where an operand lies so in memory: no operand is ever copied over.
// Sums go back through shared memory: epilogue.cuh. blockIdx.x counts tiles, eight rows of them at a time, column by column,
// so that blocks that run together share operands in the cache; blockIdx.y counts batches, or parts of k, whose sums are
// added in order by `total` of sums.cu.
// Where sums of A along k are wanted (a bias gradient), the blocks of the first column multiply it by ones as well.
// Bytes per tile and step: A and B once. Order of a sum: along k, 16 at a time in the tensor core's own order.
// Tolerance: products of bf16 are exact; sums err by the square root of k ulp of float, the result by half an ulp of bf16.
#include "tensor.cuh"

#define PRODUCTS(name, across, along) \
  extern "C" __global__ void __launch_bounds__(128) name##64(const Product p) { \
    product<false, across, along, 64, 64, 2, 2>(p, InMemory<false>()); \
  } \
  extern "C" __global__ void __launch_bounds__(256, across ? 1 : 2) name##128(const Product p) { \
    product<false, across, along, 128, 128, 2, 4>(p, InMemory<false>()); \
  } \
  extern "C" __global__ void __launch_bounds__(256, 1) name##192(const Product p) { \
    product<false, across, along, 128, 192, 2, 4>(p, InMemory<false>()); \
  }
PRODUCTS(nt, false, true)
PRODUCTS(nn, false, false)
PRODUCTS(tn, true, false)
