// Tiles in shared memory and online softmax: each score is computed once and never reaches memory.
// lab: tile 32, threads 256, shared 30208, multiples 1 1 1 64
//
// out = softmax(q k' / sqrt(d)) v per image and head, d = 64. A block has 32 queries and walks over the keys 32 at a time. Eight
// threads share a query: each has four scores of a tile, one after eight, and eight columns of the output. The largest score so far
// and the sum of exponentials go along; where the largest grows, what has been summed shrinks. Order of sums: along features; over
// keys in order.
#include "storage.cuh"

constexpr unsigned rows = 32, width = 64, pitch = width + 4;  // rows of a tile begin four banks apart
constexpr float lowest = -3.402823466e38f;

// 32 rows of a head as f32; zero behind the last token.
__device__ __forceinline__ void bring(float* to, const real* from, size_t stride, unsigned row, unsigned n) {
#pragma unroll
  for (unsigned i = threadIdx.x; i < rows * width; i += 256) {
    unsigned r = i / width, at = i % width;
    to[r * pitch + at] = row + r < n ? load(from, (row + r) * stride + at) : 0.0f;
  }
}

extern "C" __global__ void __launch_bounds__(256) attention(const real* qkv, real* out, unsigned b, unsigned n, unsigned h, unsigned d) {
  extern __shared__ __align__(16) float shared[];
  float *qs = shared, *ks = qs + rows * pitch, *vs = ks + rows * pitch, *weights = vs + rows * pitch;
  unsigned tiles = (n + rows - 1) / rows, first = blockIdx.x % tiles * rows;
  unsigned head = blockIdx.x / tiles % h, image = blockIdx.x / tiles / h;
  size_t stride = 3 * (size_t)h * d;
  const real *q = qkv + image * n * stride + head * (size_t)d, *k = q + h * (size_t)d, *v = k + h * (size_t)d;
  unsigned row = threadIdx.x / 8, part = threadIdx.x % 8;
  float top = lowest, sum = 0.0f, values[8] = {};
  bring(qs, q, stride, first, n);
  for (unsigned key = 0; key < n; key += rows) {
    bring(ks, k, stride, key, n);
    bring(vs, v, stride, key, n);
    __syncthreads();
    float s[4] = {}, next = top;
#pragma unroll 16
    for (unsigned i = 0; i < width; i++)
#pragma unroll
      for (unsigned j = 0; j < 4; j++) s[j] = fmaf(qs[row * pitch + i], ks[(part + 8 * j) * pitch + i], s[j]);
#pragma unroll
    for (unsigned j = 0; j < 4; j++) {
      s[j] = key + part + 8 * j < n ? s[j] * rsqrtf((float)d) : lowest;
      next = fmaxf(next, s[j]);
    }
    for (int step = 4; step > 0; step >>= 1) next = fmaxf(next, __shfl_xor_sync(~0u, next, step));
    float shrink = expf(top - next);
    top = next;
    sum *= shrink;
#pragma unroll
    for (unsigned j = 0; j < 4; j++) {
      float weight = expf(s[j] - next);  // 0 behind the last token
      weights[row * rows + part + 8 * j] = weight;
      sum += weight;
    }
    __syncwarp();  // a query's threads are of one warp
#pragma unroll
    for (unsigned j = 0; j < 8; j++) values[j] *= shrink;
#pragma unroll 4
    for (unsigned i = 0; i < rows; i++)
#pragma unroll
      for (unsigned j = 0; j < 8; j++) values[j] = fmaf(weights[row * rows + i], vs[i * pitch + part + 8 * j], values[j]);
    __syncthreads();  // before the tiles are written again
  }
  for (int step = 4; step > 0; step >>= 1) sum += __shfl_xor_sync(~0u, sum, step);
  if (first + row >= n) return;
#pragma unroll
  for (unsigned j = 0; j < 8; j++)
    store(out, ((image * (size_t)n + first + row) * h + head) * d + part + 8 * j, values[j] / sum);
}
