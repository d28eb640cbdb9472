// One step of SGD: g' = c g + w p, u = mu u + g', p = p - lr (g' + mu u) with Nesterov's momentum, else p = p - lr u;
// without momentum p = p - lr g'. c is the clipping factor, w the weight decay of the element. Where c is 0 or not finite
// nothing changes.
//
// Mapping: one thread per four elements. Bytes per element: 3 reals read, 2 written, with momentum.
// Tolerance: a few roundings per result; no sums.
#include "optimizer.cuh"

extern "C" __global__ void update(real* p, real* u, const real* g, const real* lr, const real* clip, float mu,
                                  bool nesterov, const uint2* pieces, unsigned piece_count, size_t count) {
  size_t i = 4 * thread_index();
  float c = load(clip, 1), rate = load(lr, 0);
  if (i >= count || !takes_step(c)) return;
  Four params = load_four(p, i, count), gradient = load_four(g, i, count), velocity = {};
  if (u) velocity = load_four(u, i, count);
  Four decay = decays(pieces, piece_count, i);
  for (int k = 0; k < 4; k++) {
    float towards = c * gradient.at[k] + decay.at[k] * params.at[k];
    velocity.at[k] = mu * velocity.at[k] + towards;
    params.at[k] -= rate * (nesterov ? towards + mu * velocity.at[k] : velocity.at[k]);
  }
  store_four(p, i, count, params);
  if (u) store_four(u, i, count, velocity);
}
