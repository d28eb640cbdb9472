// One step of AdamW: m = b1 m + (1 - b1) c g, v = b2 v + (1 - b2) (c g)^2,
// p = (1 - lr w) p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps), with c the clipping factor and w the weight
// decay of the element. Where c is 0 or not finite nothing changes, t included.
//
// `prepare`: one thread advances t and computes what all elements share, in double: 1 - b^t is -expm1(t log b).
// `update`: one thread per four elements. Bytes per element: 4 reals read, 3 written.
// Tolerance: a few roundings per result; no sums.
#include "optimizer.cuh"

// As Prepare of cuda.rs.
struct Prepare {
  unsigned* steps;
  const real *lr, *clip;
  float4* factors;
  double log_b1, log_b2;
};

extern "C" __global__ void prepare(Prepare p) {
  if (threadIdx.x > 0) return;
  float clip = load(p.clip, 1), lr = load(p.lr, 0);
  if (!takes_step(clip)) {
    *p.factors = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    return;
  }
  unsigned before = *p.steps;
  unsigned t = before < ~0u ? before + 1 : before;
  *p.steps = t;
  double step = (double)lr / -expm1((double)t * p.log_b1);
  double root = 1.0 / sqrt(-expm1((double)t * p.log_b2));
  *p.factors = make_float4(clip, lr, (float)step, (float)root);
}

// factors: c (0 where the step is left out), lr, lr / (1 - b1^t), 1 / sqrt(1 - b2^t). from_g and from_g2: 1 - b1 and 1 - b2.
extern "C" __global__ void update(real* p, real* m, real* v, const real* g, const float4* factors, float b1, float b2,
                                  float from_g, float from_g2, float eps, const uint2* pieces, unsigned piece_count,
                                  size_t count) {
  size_t i = 4 * thread_index();
  float4 shared = *factors;
  float clip = shared.x, lr = shared.y, step = shared.z, root = shared.w;
  if (i >= count || clip == 0.0f) return;
  Four params = load_four(p, i, count), first = load_four(m, i, count), second = load_four(v, i, count);
  Four gradient = load_four(g, i, count), decay = decays(pieces, piece_count, i);
  for (int k = 0; k < 4; k++) {
    float clipped = clip * gradient.at[k];
    first.at[k] = b1 * first.at[k] + from_g * clipped;
    second.at[k] = b2 * second.at[k] + from_g2 * (clipped * clipped);
    float shrink = 1.0f - lr * decay.at[k];
    params.at[k] = params.at[k] * shrink - step * first.at[k] / (sqrtf(second.at[k]) * root + eps);
  }
  store_four(m, i, count, first);
  store_four(v, i, count, second);
  store_four(p, i, count, params);
}
