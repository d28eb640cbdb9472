// y = concat(prefix, patches + noise) + position, the prefix being up to three inputs of some tokens each.
//
// Mapping: four elements of y per thread. Bytes per element: 1 real read for each part that reaches it (what samples share
// comes from the cache), 1 written. Tolerance: one rounding per addition.
#include "lanes.cuh"

// Fields of kernels/src/tokens/cuda.rs.
struct Parts {
  const real *patches, *prefix[3], *position, *noise;
  real* y;
  size_t count;     // elements of y
  size_t n, d;
  size_t ends[3];   // the token behind each input of the prefix; the last is where patches begin
  size_t reach;     // the first token that the position embedding reaches
  size_t noise_of;  // from one sample's noise to the next one's: 0 where they share it
};

extern "C" __global__ void forward(const Parts p) {
  each_within_rows(p.count, p.d, [&p](size_t i, Pack v) {
    size_t row = i / p.d, column = i - row * p.d, sample = row / p.n, token = row - sample * p.n;
    if (token < p.ends[0]) {
      fetch(v, p.prefix[0], token * p.d + column);
    } else if (token < p.ends[1]) {
      fetch(v, p.prefix[1], (token - p.ends[0]) * p.d + column);
    } else if (token < p.ends[2]) {
      fetch(v, p.prefix[2], (token - p.ends[1]) * p.d + column);
    } else {
      size_t at = (token - p.ends[2]) * p.d + column;
      fetch(v, p.patches, sample * ((p.n - p.ends[2]) * p.d) + at);
      if (p.noise) fetch_more(v, p.noise, sample * p.noise_of + at);
    }
    if (p.position && token >= p.reach) fetch_more(v, p.position, (token - p.reach) * p.d + column);
    keep(p.y, i, v);
  });
}
