// out = softmax(q k' scale) v per image and head, and the logarithm of the sum of each row's exponentials where it is kept.
// Any number of tokens, any head width.
//
// Mapping: a block of 128 threads owns 64 query rows of a head and 64 of their features, and walks over 32 keys at a time:
// attention.cuh. Softmax online: sums are scaled down where a later tile holds a larger score. 44 KiB of shared memory.
// Bytes: q read once (wide heads: once per 32 keys), k and v once per 64 query rows, out written once.
// Order of sums: attention.cuh; each lane adds the exponentials of its columns, 8 lanes at the end.
// Tolerance: 3 ulp of the largest |v| times the square root of the keys, 16 ulp of the largest score.
#include "attention.cuh"

// Scores to weights exp(s - top), with the new top of each row; what was summed under the old one is scaled down.
__device__ __forceinline__ void soften(const Attention& p, unsigned key, float (&s)[4][4], float (&top)[4],
                                       float (&sum)[4], Output& out, Weights* weights) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float next = top[i];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      s[i][j] *= p.scale;
      if (key + 8 * j < p.tokens && s[i][j] > next) next = s[i][j];
    }
    next = row_top(next);
    float shrink = expf(top[i] - next), part = 0.0f;
    top[i] = next;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      float weight = key + 8 * j < p.tokens ? expf(s[i][j] - next) : 0.0f;
      part += weight;
      weights[own_row() + 4 * i][own_column() + 8 * j] = weight;
    }
    sum[i] = fmaf(sum[i], shrink, part);
#pragma unroll
    for (int e = 0; e < 8; e++) out[e / 4][i][e % 4] *= shrink;
  }
}

extern "C" __global__ void __launch_bounds__(threads, 3) forward(const Attention p) {
  __shared__ __align__(16) float q[own_rows][pitch], k[walked][pitch], v[walked][pitch];
  __shared__ __align__(16) float weights[own_rows][weights_pitch];
  Place place = place_of(p);
  Rows queries = packed_rows(p, place, queries_part), keys = packed_rows(p, place, keys_part);
  Rows values = packed_rows(p, place, values_part);
  bool wide = p.width > depth;
  // Warps without a row only help to fill tiles.
  bool busy = place.row + threadIdx.x / 32 * 16 < p.tokens;
  Output out;
  clear(out);
  float top[4], sum[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    // Finite, so that a row of scores of -inf sums up to 0 and becomes NaN, as in the reference.
    top[i] = lowest;
    sum[i] = 0.0f;
  }
  for (unsigned key = 0; key < p.tokens; key += walked) {
    unsigned count = min(p.tokens - key, walked);
    float s[4][4] = {};
    for (unsigned f = 0; f < p.width; f += depth) {
      __syncthreads();  // earlier tiles may still be read
      if (wide || key == 0) fill<own_rows>(p, q, queries, place.row, f);
      fill<walked>(p, k, keys, key, f);
      if (f + depth >= p.width) fill<walked>(p, v, values, key, place.feature);
      __syncthreads();
      if (busy) multiply_first(count, s, q, k, min(p.width - f, depth));
    }
    if (!busy) continue;
    soften(p, key + own_column(), s, top, sum, out, weights);
    __syncwarp();
    weigh_features(p.width - place.feature, out, weights, v, count);
  }
  if (!busy) return;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    unsigned row = place.row + own_row() + 4 * i;
    sum[i] = row_sum(sum[i]);
    float inverse = 1.0f / sum[i];
#pragma unroll
    for (int e = 0; e < 8; e++) out[e / 4][i][e % 4] *= inverse;
    if (p.lse && place.feature == 0 && own_column() == 0 && row < p.tokens)
      p.lse[place.task * p.tokens + row] = top[i] + logf(sum[i]);
  }
  finish(p, place, p.result + place.plain, plain_stride(p), out);
}
