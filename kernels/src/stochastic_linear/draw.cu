// W = M + E for one matrix or several, one per sample: E from Philox under its law, M the identity or zero.
//
// Mapping: a thread per four elements of a matrix, those of one Philox call; no call spans two matrices.
// Bytes: 1 real written per element. Tolerance: noise has the CPU's bits; one rounding on the diagonal.
#include "drawn.cuh"

struct Draw {
  Drawing drawing;
  real* w;
  unsigned long long matrices, width, columns;  // width: elements of a matrix
};

extern "C" __global__ void draw(const Draw p) {
  size_t blocks = (p.width + 3) / 4, matrix = thread_index() / blocks, block = thread_index() % blocks;
  if (matrix >= p.matrices) return;
  size_t row = 4 * block / p.columns, column = 4 * block % p.columns, i = matrix * p.width + 4 * block;
  float4 values = drawn4(p.drawing, p.drawing.sample(matrix), (unsigned)block, row, column, p.columns);
  if (p.width % 4 == 0) {
    store4(p.w, i, values);
    return;
  }
  const float four[4] = {values.x, values.y, values.z, values.w};
#pragma unroll
  for (unsigned e = 0; e < 4; e++)
    if (4 * block + e < p.width) store(p.w, i + e, four[e]);
}
