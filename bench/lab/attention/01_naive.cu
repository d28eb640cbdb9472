// One thread per query, scores computed afresh wherever one is needed.
// lab: tile 64, threads 64, multiples 1 1 1 64
//
// out = softmax(q k' / sqrt(d)) v per image and head, of qkv [b, n, 3 h d], d = 64; out [b, n, h d]. A first walk over the keys finds
// the largest score, a second the sum of exponentials, a third adds the values. Operands come straight from memory: nothing is reused
// but by the caches.
#include "storage.cuh"

constexpr unsigned width = 64;

__device__ float score(const real* q, const real* key) {
  float sum = 0.0f;
  for (unsigned i = 0; i < width; i++) sum = fmaf(load(q, i), load(key, i), sum);
  return sum * rsqrtf((float)width);
}

extern "C" __global__ void attention(const real* qkv, real* out, unsigned b, unsigned n, unsigned h, unsigned d) {
  unsigned tiles = (n + 63) / 64, query = blockIdx.x % tiles * 64 + threadIdx.x;
  unsigned head = blockIdx.x / tiles % h, image = blockIdx.x / tiles / h;
  if (query >= n) return;
  size_t pitch = 3 * (size_t)h * d;
  const real *first = qkv + image * (size_t)n * pitch + head * (size_t)d, *q = first + query * pitch;
  const real *keys = first + h * (size_t)d, *values = keys + h * (size_t)d;
  float most = -3.402823466e38f, sum = 0.0f, x[width] = {};
  for (unsigned j = 0; j < n; j++) most = fmaxf(most, score(q, keys + j * pitch));
  for (unsigned j = 0; j < n; j++) sum += expf(score(q, keys + j * pitch) - most);
  for (unsigned j = 0; j < n; j++) {
    float weight = expf(score(q, keys + j * pitch) - most);
#pragma unroll
    for (unsigned i = 0; i < width; i++) x[i] = fmaf(weight, load(values, j * pitch + i), x[i]);
  }
#pragma unroll
  for (unsigned i = 0; i < width; i++) store(out, (image * (size_t)n + query) * h * d + head * (size_t)d + i, x[i] / sum);
}
