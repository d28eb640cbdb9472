// A proposal of the Square Attack, per sample: mod.rs has the rule, the words that are drawn and the columns of a row.
//
// Mapping: `linf` one thread per element; `l2` one block of 256 threads per sample. Bytes per element: linf 2 reals read, 1 written;
// l2 three times as many. Order of sums (l2): thread t adds its elements in order in double, then as block_sum.
// Tolerance: linf the CPU's bits; l2 a few roundings.
#include "attack.cuh"
#include "philox.cuh"
#include "progress.cuh"

constexpr int COLUMNS = 4, PHASES = 10;
constexpr unsigned SIGNS = 8, FIRST = 16;

struct Params {
  real* trial;
  const real* best;
  const real* images;
  const unsigned* ids;
  const real* progress;
  const unsigned* state;
  const real* pyramids;
  unsigned stream, shared, samples, channels, height, width, tile, start, down, across, count, first;
  unsigned sides[12], offsets[12];
};

__device__ __forceinline__ int phase_of(unsigned i) {
  const unsigned ends[PHASES - 1] = {10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000};
  int phase = 0;
  for (int k = 0; k < PHASES - 1; k++) phase += i > ends[k];
  return phase;
}

// The draws of one proposal of one sample.
struct Proposal {
  unsigned seed[3], id, stream;

  __device__ __forceinline__ unsigned word(unsigned at) const { return philox_word(seed, stream, id, at); }
  __device__ __forceinline__ bool bit(unsigned at) const { return word(at) >> 31; }
  __device__ __forceinline__ float sign(unsigned at) const { return bit(at) ? 1.0f : -1.0f; }
  __device__ __forceinline__ unsigned place(unsigned at, unsigned size, unsigned side) const {
    return (unsigned)(uniform_of(word(at)) * (float)(size - side));
  }
};

__device__ __forceinline__ Proposal proposal_of(const Params& p, size_t sample, unsigned judged) {
  return {{p.state[0], p.state[1], judged}, p.shared ? 0u : p.ids[sample], p.stream};
}

extern "C" __global__ void linf(const Params p) {
  size_t i = thread_index();
  if (i >= p.count) return;
  size_t plane = (size_t)p.height * p.width, sample = i / (plane * p.channels);
  unsigned channel = (unsigned)(i / plane % p.channels), row = (unsigned)(i / p.width % p.height), column = (unsigned)(i % p.width);
  float eps = load(p.progress, sample * COLUMNS + EPS);
  unsigned judged = (unsigned)load(p.progress, sample * COLUMNS + STEPS);
  Proposal drawn = proposal_of(p, sample, judged);
  float value;
  if (judged == 0) {
    value = eps * drawn.sign(FIRST + channel * p.width + column);
  } else {
    unsigned side = p.sides[phase_of(judged - 1)];
    unsigned top = drawn.place(0, p.height, side), left = drawn.place(1, p.width, side);
    value = load(p.best, i);
    if (row - top >= side || column - left >= side) {  // unsigned: also above and left of it
      store(p.trial, i, value);
      return;
    }
    value = fminf(fmaxf(value + eps * drawn.sign(SIGNS + channel) * 2.0f, -eps), eps);
  }
  store(p.trial, i, into_box(value, load(p.images, i)));
}

struct Window {
  unsigned top, left, side;
  __device__ __forceinline__ bool has(unsigned row, unsigned column) const { return row - top < side && column - left < side; }
};

__device__ __forceinline__ unsigned turned(unsigned row, unsigned column, unsigned side, bool transposed) {
  return transposed ? column * side + row : row * side + column;
}

// The tiles of the first proposal, not scaled yet; gives the sum of their squares.
__device__ double first_tiles(const Params& p, const Proposal& drawn, real* trial, double* parts) {
  unsigned plane = p.height * p.width, tiles = p.down * p.across;
  double squares = 0.0;
  for (unsigned i = threadIdx.x; i < plane * p.channels; i += blockDim.x) {
    unsigned channel = i / plane, row = i / p.width % p.height - p.start, column = i % p.width - p.start;
    float value = 0.0f;
    if (row < p.down * p.tile && column < p.across * p.tile) {
      unsigned number = row / p.tile * p.across + column / p.tile;
      bool transposed = drawn.bit(FIRST + tiles * p.channels + number);
      value = drawn.sign(FIRST + number * p.channels + channel) *
              load(p.pyramids, turned(row % p.tile, column % p.tile, p.tile, transposed));
    }
    store(trial, i, value);
    squares = fma((double)value, (double)value, squares);
  }
  return block_sum(squares, parts);
}

// One plane of a later proposal, not scaled yet: the pyramid joins window `to`, whose budget is that of both windows and `spare`. Gives by
// how much the sum of squares grows.
__device__ double move_window(const Params& p, const real* best, real* trial, Window to, Window from, const real* pyramid, bool transposed,
                              float sign, double spare, double* parts) {
  unsigned plane = p.height * p.width, side = to.side;
  double there = 0.0, either = 0.0, squares = 0.0;
  for (unsigned i = threadIdx.x; i < plane; i += blockDim.x) {
    unsigned row = i / p.width, column = i % p.width;
    float value = load(best, i);
    bool inside = to.has(row, column), gives = from.has(row, column);
    if (inside) there = fma((double)value, (double)value, there);
    if (inside || gives) either = fma((double)value, (double)value, either);
    store(trial, i, gives && !inside ? 0.0f : value);
  }
  there = block_sum(there, parts);
  either = block_sum(either, parts);
  float old = (float)(1.0 / (sqrt(there) + 1e-12));
  auto mixed = [&](unsigned i) {
    unsigned row = i / side, column = i % side;
    float value = load(best, (to.top + row) * p.width + to.left + column);
    return sign * load(pyramid, turned(row, column, side, transposed)) + value * old;
  };
  for (unsigned i = threadIdx.x; i < side * side; i += blockDim.x) {
    double value = mixed(i);
    squares = fma(value, value, squares);
  }
  squares = block_sum(squares, parts);  // behind its barrier all of the plane is written
  double factor = sqrt(spare + either) / (sqrt(squares) + 1e-12);
  for (unsigned i = threadIdx.x; i < side * side; i += blockDim.x)
    store(trial, (to.top + i / side) * p.width + to.left + i % side, mixed(i) * (float)factor);
  return squares * factor * factor - either;
}

extern "C" __global__ void l2(const Params p) {
  __shared__ double parts[8];
  unsigned plane = p.height * p.width, volume = plane * p.channels;
  size_t sample = blockIdx.x;
  const real *best = p.best + sample * volume, *image = p.images + sample * volume;
  real* trial = p.trial + sample * volume;
  double eps = load(p.progress, sample * COLUMNS + EPS), squares = 0.0;
  unsigned judged = (unsigned)load(p.progress, sample * COLUMNS + STEPS);
  Proposal drawn = proposal_of(p, sample, judged);
  if (judged == 0) {
    squares = first_tiles(p, drawn, trial, parts);
  } else {
    int phase = phase_of(judged - 1);
    unsigned side = p.sides[phase];
    Window to = {drawn.place(0, p.height, side), drawn.place(1, p.width, side), side};
    Window from = {drawn.place(2, p.height, side), drawn.place(3, p.width, side), side};
    for (unsigned i = threadIdx.x; i < volume; i += blockDim.x) squares = fma((double)load(best, i), (double)load(best, i), squares);
    squares = block_sum(squares, parts);
    double spare = fmax(eps * eps - squares, 0.0) / p.channels;
    bool transposed = drawn.bit(4);
    for (unsigned channel = 0; channel < p.channels; channel++)
      squares += move_window(p, best + channel * plane, trial + channel * plane, to, from, p.pyramids + p.offsets[phase], transposed,
                             drawn.sign(SIGNS + channel), spare, parts);
  }
  __syncthreads();
  float factor = (float)(eps / (sqrt(fmax(squares, 0.0)) + 1e-12));
  for (unsigned i = threadIdx.x; i < volume; i += blockDim.x) store(trial, i, into_box(load(trial, i) * factor, load(image, i)));
}
