// y = x W and dx = dy W' by tensor cores, W drawn in shared memory where it is needed and never written to memory.
//
// The product is that of tensor.cuh; tiles of W come from Philox instead of copies: two calls for 8 elements, rounded to
// bf16 as `draw` rounds them, so both ways give the same bits. Every row of tiles of C draws W anew: worth it where an
// image has a matrix of its own, or where one row of tiles is all there is.
#include "drawn.cuh"
#include "tensor.cuh"

struct DrawnProduct {
  Product product;
  Drawing drawing;
};

// B is W [rows, pitch], or its transpose with the same rows in memory.
struct Drawn {
  const Drawing& drawing;

  template <int height, int width, int threads>
  __device__ __forceinline__ void fill(const Product&, real* tile, unsigned batch, Part part, size_t pitch) const {
    constexpr int eighths = width / 8;
    unsigned sample = drawing.sample(batch);
#pragma unroll 1
    for (unsigned e = threadIdx.x; e < height * eighths; e += threads) {
      unsigned r = e / eighths, c = e % eighths;
      unsigned row = part.row + r, column = part.column + 8 * c;
      uint4 bits = make_uint4(0, 0, 0, 0);
      if (row < part.rows && column < part.columns) {
        // Elements are counted in 32 bits: streams wrap after 2^34.
        unsigned block = (unsigned)((row * pitch + column) / 4);
        float4 low = drawn4(drawing, sample, block, row, column, pitch);
        float4 high = drawn4(drawing, sample, block + 1, row, column + 4, pitch);
        bits = make_uint4(bf16_pair(low.x, low.y), bf16_pair(low.z, low.w), bf16_pair(high.x, high.y),
                          bf16_pair(high.z, high.w));
      }
      *(uint4*)(tile + swizzled<width>(r, c)) = bits;
    }
  }
};

#define DRAWN(name, along) \
  extern "C" __global__ void __launch_bounds__(128) name##64(const DrawnProduct p) { \
    product<false, false, along, 64, 64, 2, 2>(p.product, Drawn{p.drawing}); \
  } \
  extern "C" __global__ void __launch_bounds__(256, 1) name##128(const DrawnProduct p) { \
    product<false, false, along, 128, 128, 2, 4>(p.product, Drawn{p.drawing}); \
  } \
  extern "C" __global__ void __launch_bounds__(256, 1) name##192(const DrawnProduct p) { \
    product<false, false, along, 128, 192, 2, 4>(p.product, Drawn{p.drawing}); \
  }
DRAWN(nt, true)
DRAWN(nn, false)
