// One step of the Fast Adaptive Boundary attack, per sample: mod.rs has the rule and the columns of a row.
//
// Mapping: one block of 256 threads per sample, thread t elements t, t + 256, .. Bytes per element: 3 reals read in each of some
// ten passes, mostly from a cache, 1 or 2 written. Order of sums: thread t adds its elements in order in double, then as block_sum.
// Tolerance: a few roundings; where the plane is nearly out of reach, those of the sums over the room that is left.
#include "attack.cuh"
#include "progress.cuh"

constexpr int COLUMNS = 5, FRESH = 3, NEAREST = 4, ROUNDS = 200;

__device__ __forceinline__ double block_max(double x, double* parts) {
  for (int step = 16; step > 0; step >>= 1) x = fmax(x, __shfl_xor_sync(~0u, x, step));
  __syncthreads();  // an earlier result may still be read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  double most = 0.0;
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) most = fmax(most, parts[warp]);
  return most;
}

// Distance of a pixel from the wall toward which it has to go for f to rise (`up`) or fall.
__device__ __forceinline__ float room_of(float w, float point, bool up) {
  return fmaxf((w > 0.0f) == up ? 1.0f - point : point, 0.0f);
}

// How far to go so that f changes by `by`: the root t of sum |w| min(t r, room) = by; infinite where there is not so much room.
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
    if (free == 0.0) return filled < by ? __longlong_as_double(0x7ff0000000000000ll) : t;
    double next = (by - filled) / free;
    if (next <= t) return t;
    t = next;
  }
  return t;
}

template <class Point>
__device__ double length_of(const real* w, Point point, size_t width, bool up, bool square, double t, double* parts) {
  double most = 0.0, squares = 0.0;
  for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
    float slope = load(w, i);
    if (slope == 0.0f) continue;
    double way = fmin((double)room_of(slope, point(i), up), square ? t * fabsf(slope) : t);
    most = fmax(most, way);
    squares = fma(way, way, squares);
  }
  return square ? sqrt(block_sum(squares, parts)) : block_max(most, parts);
}

__device__ __forceinline__ float way_of(float w, float point, bool up, float t, bool square) {
  if (w == 0.0f) return 0.0f;
  float way = fminf(room_of(w, point, up), square ? t * fabsf(w) : t);
  return (w > 0.0f) == up ? way : -way;
}

// Keeps what is to be kept of the iterate; whether a step follows. `row` is the sample's, read by all threads before any writes.
__device__ bool look(real* delta, real* nearest, real* row, float margin, size_t width, unsigned steps, bool stop, bool square,
                     double* parts) {
  float eps = load(row, EPS), fresh = load(row, FRESH), least = load(row, NEAREST), taken = load(row, STEPS) + 1.0f;
  bool runs = load(row, STATUS) == RUNNING;
  __syncthreads();
  if (!runs) return false;
  if (fresh != 0.0f) {
    if (threadIdx.x == 0) store(row, FRESH, 0.0f);
    return true;
  }
  bool fools = margin > 0.0f;
  if (fools) {
    double most = 0.0, squares = 0.0;
    for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
      double d = load(delta, i);
      most = fmax(most, fabs(d));
      squares = fma(d, d, squares);
    }
    float length = (float)(square ? sqrt(block_sum(squares, parts)) : block_max(most, parts));
    bool nearer = length < least;
    if (nearer) least = length;
    for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
      if (nearer) nearest[i] = delta[i];
      store(delta, i, 0.9f * load(delta, i));
    }
  }
  bool spent = taken == (float)steps;
  float status = least <= eps && (stop || spent) ? FOOLED : spent ? SPENT : RUNNING;
  if (threadIdx.x == 0) {
    store(row, STEPS, taken);
    store(row, STATUS, status);
    store(row, FRESH, fools ? 1.0f : 0.0f);
    store(row, NEAREST, least);
  }
  return status == RUNNING && !fools;
}

extern "C" __global__ void update(real* delta, real* nearest, real* progress, const real* w, const real* differences,
                                  const real* margins, const real* x, size_t width, unsigned steps, bool stop, bool square) {
  __shared__ double parts[8];
  size_t sample = blockIdx.x;
  delta += sample * width;
  w += sample * width;
  x += sample * width;
  real* row = progress + sample * COLUMNS;
  if (!look(delta, nearest + sample * width, row, load(margins, sample), width, steps, stop, square, parts)) return;
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
