// One step of the Fast Adaptive Boundary attack, per sample: mod.rs has the rule, fab_look the columns of a row.
//
// Mapping: one block of 256 threads per sample, thread t elements t, t + 256, .. Bytes per element: 3 reals read in each of some
// ten passes, mostly from a cache, 1 written. Order of sums: thread t adds its elements in order in double, then as block_sum.
// Tolerance: a few roundings; where the plane is nearly out of reach, those of the sums over the room that is left.
#include "attack.cuh"
#include "ball_norm.cuh"
#include "progress.cuh"

constexpr int COLUMNS = 4, ROUNDS = 200;

// Distance of a pixel from the wall toward which it has to go for f to rise (`up`) or fall.
__device__ __forceinline__ float room_of(float w, float point, bool up) {
  return fmaxf((w > 0.0f) == up ? 1.0f - point : point, 0.0f);
}

// How far to go so that f changes by `by`: the root t of sum |w| min(t r, room) = by; to all walls where there is not so much room.
template <class Point>
__device__ double reach(const real* w, Point point, size_t width, bool up, bool square, double by, double* parts) {
  double t = 0.0;
  for (int round = 0; round < ROUNDS; round++) {
    double free = 0.0, filled = 0.0;
    for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
      float slope = load(w, i);
      double weight = fabsf(slope), rate = square ? weight : 1.0, room = room_of(slope, point(i), up);
      bool saturated = room <= t * rate;
      free += saturated ? 0.0 : weight * rate;
      filled += saturated ? weight * room : 0.0;
    }
    free = block_sum(free, parts);
    filled = block_sum(filled, parts);
    if (free == 0.0) return t;
    double next = (by - filled) / free;
    if (next <= t) return t;
    t = next;
  }
  return t;
}

template <class Point>
__device__ double length_of(const real* w, Point point, size_t width, bool up, bool square, double t, double* parts) {
  auto way = [&](size_t i) {
    float slope = load(w, i);
    return slope == 0.0f ? 0.0 : fmin((double)room_of(slope, point(i), up), square ? t * fabsf(slope) : t);
  };
  return ball_norm(way, width, square, parts);
}

__device__ __forceinline__ float way_of(float w, float point, bool up, float t, bool square) {
  if (w == 0.0f) return 0.0f;
  float way = fminf(room_of(w, point, up), square ? t * fabsf(w) : t);
  return (w > 0.0f) == up ? way : -way;
}

extern "C" __global__ void update(real* delta, const real* w, const real* differences, const real* x, const real* progress,
                                  size_t width, bool square) {
  __shared__ double parts[8];
  size_t sample = blockIdx.x;
  if (load(progress, sample * COLUMNS + STATUS) != RUNNING) return;  // the whole block
  delta += sample * width;
  w += sample * width;
  x += sample * width;
  double difference = load(differences, sample), product = 0.0;
  for (size_t i = threadIdx.x; i < width; i += blockDim.x) product = fma((double)load(w, i), (double)load(delta, i), product);
  double from_x = difference - block_sum(product, parts);
  auto moved = [&](size_t i) { return load(x, i) + load(delta, i); };
  auto clean = [&](size_t i) { return load(x, i); };
  bool up1 = difference < 0.0, up2 = from_x < 0.0;
  double t1 = reach(w, moved, width, up1, square, fabs(difference), parts);
  double t2 = reach(w, clean, width, up2, square, fabs(from_x), parts);
  double a1 = fmax(length_of(w, moved, width, up1, square, t1, parts), 1e-8);
  double a2 = fmax(length_of(w, clean, width, up2, square, t2, parts), 1e-8);
  float a = (float)fmin(a1 / (a1 + a2), 0.1), rest = 1.0f - a;
  for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
    float d1 = way_of(load(w, i), moved(i), up1, (float)t1, square), d2 = way_of(load(w, i), clean(i), up2, (float)t2, square);
    store(delta, i, into_box((load(delta, i) + 1.05f * d1) * rest + 1.05f * d2 * a, load(x, i)));
  }
}
