// One thread per query, scores computed afresh wherever one is needed.
// lab: tile 64, threads 64
//
// out = softmax(q k' / sqrt(d)) v per image and head, of qkv [b, n, 3 h d]; out [b, n, h d]. A first walk over the keys finds the
// largest score, a second the sum of exponentials, a third adds each value for one column of the output after another.
#include "storage.cuh"

__device__ float score(const real* q, const real* key, unsigned d) {
  float sum = 0.0f;
  for (unsigned i = 0; i < d; i++) sum = fmaf(load(q, i), load(key, i), sum);
  return sum * rsqrtf((float)d);
}

extern "C" __global__ void attention(const real* qkv, real* out, unsigned b, unsigned n, unsigned h, unsigned d) {
  unsigned tiles = (n + 63) / 64, query = blockIdx.x % tiles * 64 + threadIdx.x;
  unsigned head = blockIdx.x / tiles % h, image = blockIdx.x / tiles / h;
  if (query >= n || image >= b) return;
  size_t pitch = 3 * (size_t)h * d;
  const real *first = qkv + image * (size_t)n * pitch + head * (size_t)d, *q = first + query * pitch;
  const real *keys = first + h * (size_t)d, *values = keys + h * (size_t)d;
  float most = -3.402823466e38f, sum = 0.0f;
  for (unsigned j = 0; j < n; j++) most = fmaxf(most, score(q, keys + j * pitch, d));
  for (unsigned j = 0; j < n; j++) sum += expf(score(q, keys + j * pitch, d) - most);
  for (unsigned i = 0; i < d; i++) {
    float value = 0.0f;
    for (unsigned j = 0; j < n; j++)
      value = fmaf(expf(score(q, keys + j * pitch, d) - most), load(values, j * pitch + i), value);
    store(out, (image * (size_t)n + query) * h * d + head * (size_t)d + i, value / sum);
  }
}
