// What becomes of an iterate of the Fast Adaptive Boundary attack, per sample: mod.rs has the rule and the columns of a row.
//
// Mapping: one block of 256 threads per sample, thread t elements t, t + 256, .. Bytes per element: up to 2 reals read and 2 written,
// none where the iterate is classified correctly. Order of sums: as ball_norm.cuh says. Tolerance: one rounding per result.
#include "ball_norm.cuh"
#include "progress.cuh"
#include "storage.cuh"

constexpr int COLUMNS = 4, NEAREST = 3;

// Keeps the iterate where it is nearer than `least`, and goes back; gives the least norm now.
__device__ __forceinline__ float keep(real* delta, real* nearest, float least, size_t width, bool square, double* parts) {
  float length = (float)ball_norm([&](size_t i) { return load(delta, i); }, width, square, parts);
  bool nearer = length < least;
  for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
    if (nearer) nearest[i] = delta[i];
    store(delta, i, 0.9f * load(delta, i));
  }
  return nearer ? length : least;
}

extern "C" __global__ void update(real* delta, real* nearest, real* progress, const real* margins, size_t width, unsigned steps,
                                  bool stop, bool square) {
  __shared__ double parts[8];
  size_t sample = blockIdx.x;
  real* row = progress + sample * COLUMNS;
  float least = load(row, NEAREST), taken = load(row, STEPS) + 1.0f;
  bool runs = load(row, STATUS) == RUNNING;
  __syncthreads();  // all have read the row
  if (!runs) return;
  if (load(margins, sample) > 0.0f) least = keep(delta + sample * width, nearest + sample * width, least, width, square, parts);
  if (threadIdx.x > 0) return;
  bool within = least <= load(row, EPS), spent = taken == (float)steps;
  store(row, STATUS, within && (stop || spent) ? FOOLED : spent ? SPENT : RUNNING);
  store(row, STEPS, taken);
  store(row, NEAREST, least);
}
