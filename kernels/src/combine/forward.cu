// y = sum over up to eight terms of c_i x_i, written or added. With one term it is the gradient dx_i = c_i dy too.
//
// Mapping: four elements per thread. Bytes per element: 1 real read per term (1 more where it adds), 1 written.
// Order: the terms one after the other. Tolerance: two roundings per term.
#include "lanes.cuh"

// Fields of kernels/src/combine/cuda.rs.
struct Terms {
  const real* x[8];
  float factor[8];
  real* y;
  size_t count;
  unsigned terms, add;
};

extern "C" __global__ void combine(const Terms p) {
  each(p.count, [&p](size_t i, Pack v) {
    fetch(v, p.x[0], i);
    for (float& a : v.at) a *= p.factor[0];
    // Unrolled, so that the parameters are read from where they lie.
#pragma unroll
    for (int term = 1; term < 8; term++) {
      if (term >= p.terms) break;
      Pack x = v;
      fetch(x, p.x[term], i);
      for (int k = 0; k < 4; k++) v.at[k] = fmaf(p.factor[term], x.at[k], v.at[k]);
    }
    put(p.y, i, v, p.add);
  });
}
