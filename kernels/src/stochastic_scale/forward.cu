// y = s x; backward the same of dy, written or added. s is drawn per column for the whole batch or per sample, or per
// element.
//
// Mapping: `draw`: a thread per four scales that tokens share, those of one Philox call; no call spans two samples.
// `shared_quads`, `shared_singles`: a thread per four elements, or per element where tokens are not whole fours.
// `own_scales`: a thread per four elements of a sample, whose scales it draws.
// Bytes per element: 1 real read (2 where it adds), 1 written; shared scales stay in the cache.
// Tolerance: scales have the CPU's bits; one rounding.
#include "philox.cuh"
#include "storage.cuh"

// ids: NULL where the batch shares a draw. width: scales of a draw. samples: draws.
extern "C" __global__ void draw(const unsigned* state, const unsigned* ids, unsigned stream, unsigned kind, float a,
                                float b, float c, const int* table, float* scales, size_t samples, size_t width) {
  size_t blocks = (width + 3) / 4, sample = thread_index() / blocks, block = thread_index() % blocks;
  if (sample >= samples) return;
  Law law = {kind, a, b, c, table};
  uint4 words = philox_block(state, stream, ids ? ids[sample] : 0, (unsigned)block);
#pragma unroll
  for (unsigned e = 0; e < 4; e++)
    if (4 * block + e < width) scales[sample * width + 4 * block + e] = law_value(word_of(words, e), law);
}

// Four elements from i on, which is a multiple of 4.
__device__ __forceinline__ void scale4(const real* x, real* y, size_t i, float4 s, bool add) {
  float4 v = load4(x, i);
  v = make_float4(s.x * v.x, s.y * v.y, s.z * v.z, s.w * v.w);
  if (add) {
    float4 old = load4(y, i);
    v = make_float4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w);
  }
  store4(y, i, v);
}

// Where the scale of element i lies. sample: elements of those that share a draw.
__device__ __forceinline__ size_t scale_at(size_t i, size_t sample, size_t width) {
  return i / sample * width + i % width;
}

extern "C" __global__ void shared_quads(const float* scales, const real* x, real* y, size_t count, size_t sample,
                                        size_t width, bool add) {
  size_t i = 4 * thread_index();
  if (i >= count) return;
  scale4(x, y, i, *(const float4*)(scales + scale_at(i, sample, width)), add);
}

extern "C" __global__ void shared_singles(const float* scales, const real* x, real* y, size_t count, size_t sample,
                                          size_t width, bool add) {
  size_t i = thread_index();
  if (i < count) put(y, i, scales[scale_at(i, sample, width)] * load(x, i), add);
}

extern "C" __global__ void own_scales(const unsigned* state, const unsigned* ids, unsigned stream, unsigned kind,
                                      float a, float b, float c, const int* table, const real* x, real* y,
                                      size_t samples, size_t width, bool add) {
  size_t blocks = (width + 3) / 4, sample = thread_index() / blocks, block = thread_index() % blocks;
  if (sample >= samples) return;
  Law law = {kind, a, b, c, table};
  uint4 words = philox_block(state, stream, ids[sample], (unsigned)block);
  float s[4];
#pragma unroll
  for (unsigned e = 0; e < 4; e++) s[e] = law_value(word_of(words, e), law);
  size_t i = sample * width + 4 * block;
  if (width % 4 == 0) {
    scale4(x, y, i, make_float4(s[0], s[1], s[2], s[3]), add);
    return;
  }
#pragma unroll
  for (unsigned e = 0; e < 4; e++)
    if (4 * block + e < width) put(y, i + e, s[e] * load(x, i + e), add);
}
