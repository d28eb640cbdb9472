// W = M + E for one matrix or several, one per sample: E from Philox under its law, M the identity or zero.
//
// Mapping: a thread per four elements of a matrix, those of one Philox call; no call spans two matrices.
// Bytes: 1 real written per element. Tolerance: noise has the CPU's bits; one rounding on the diagonal.
#include "philox.cuh"
#include "storage.cuh"

// ids: NULL where the batch shares a matrix. width: elements of a matrix.
extern "C" __global__ void draw(const unsigned* state, const unsigned* ids, unsigned stream, unsigned kind, float a,
                                float b, float c, const int* table, real* w, size_t matrices, size_t width,
                                size_t columns, bool identity) {
  size_t blocks = (width + 3) / 4, matrix = thread_index() / blocks, block = thread_index() % blocks;
  if (matrix >= matrices) return;
  Law law = {kind, a, b, c, table};
  uint4 words = philox_block(state, stream, ids ? ids[matrix] : 0, (unsigned)block);
  size_t row = 4 * block / columns, column = 4 * block % columns;
  float values[4];
#pragma unroll
  for (unsigned e = 0; e < 4; e++) {
    values[e] = law_value(word_of(words, e), law);
    if (identity && row == column) values[e] = __fadd_rn(values[e], 1.0f);
    if (++column == columns) {
      column = 0;
      row++;
    }
  }
  size_t i = matrix * width + 4 * block;
  if (width % 4 == 0) {
    store4(w, i, make_float4(values[0], values[1], values[2], values[3]));
    return;
  }
#pragma unroll
  for (unsigned e = 0; e < 4; e++)
    if (4 * block + e < width) store(w, i + e, values[e]);
}
