// C = act(A B + bias) times a factor, by sm_90's products of warpgroups; and sums of A along k.
//
// Mapping: two blocks of a cluster make tiles of C, one after another as long as there are any (blocks stay): wide ones
// [128, 192] one below the other, or tall ones [192, 128] side by side. Of the three warpgroups of a block, two multiply:
// they take turns, so that one brings its sums to memory while the other multiplies. The third loads: one thread fills a
// ring of four stages of 64 steps of k by bulk copies (TMA), each block its own operand, and half of the one that both
// share for both. Operands are read by the tensor cores where they lie in shared memory, along k or across it as in memory.
// Sums go back through shared memory: epilogue.cuh. Tiles are counted eight rows (of clusters) at a time, column by column;
// then batches, or parts of k, whose sums `total` of sums.cu adds in order.
// Where sums of A along k are wanted (a bias gradient), warps of the third group add up what the first column loads.
// Bytes per tile and step: its own operand once, the shared one once for two tiles. Order of a sum: along k, 16 at a time in
// the tensor core's own order. Tolerance: products of bf16 are exact; sums err by the square root of k ulp of float, the
// result by half an ulp of bf16.
#include "ptx90.cuh"
#include "epilogue.cuh"

constexpr unsigned depth = 64, stages = 4, ranks = 2;
constexpr unsigned group_threads = 128, groups = 2;  // that multiply
constexpr unsigned row_bytes = 128, box_bytes = 64 * row_bytes;
constexpr unsigned stage_bytes = (128 + 192) * row_bytes;

// A block's tile.
template <bool tall>
struct Tile {
  static constexpr unsigned m = tall ? 192 : 128, n = tall ? 128 : 192;
  static constexpr unsigned cluster_m = tall ? m : ranks * m, cluster_n = tall ? ranks * n : n;
  static constexpr unsigned pitch = n + 8;                // of staged sums: rows in different banks
  static constexpr unsigned sum_warps = (m + 127) / 128;  // that sum A: of both blocks where they share it
  static constexpr unsigned sum_arrivals = sum_warps * (tall ? ranks : 1);
};

// Named barriers, one per warpgroup: its turn to multiply, its turn to finish, its threads among themselves.
enum Named { multiplies = 1, finishes = 3, meets = 5 };

// Stages of the ring, from which barriers and phases follow.
struct Ring {
  unsigned char* tiles;
  Mbarrier *full, *empty;
  unsigned at;  // stages filled, or used, so far

  __device__ __forceinline__ unsigned slot() const { return at % stages; }
  __device__ __forceinline__ unsigned parity() const { return at / stages % 2; }
  __device__ __forceinline__ unsigned char* tile() const { return tiles + slot() * stage_bytes; }
};

// A tile of C: where it begins, its batch or part of k, and the steps of k that it sums.
struct Work {
  unsigned row, column, batch, begin, steps;
};

// The i-th tile of this block.
template <bool tall>
__device__ __forceinline__ bool work_of(const Product& p, unsigned i, Work& work) {
  using Of = Tile<tall>;
  unsigned rows = (p.m + Of::cluster_m - 1) / Of::cluster_m, columns = (p.n + Of::cluster_n - 1) / Of::cluster_n;
  unsigned index = blockIdx.x / ranks + i * (gridDim.x / ranks);
  if (index >= rows * columns * p.count) return false;
  uint2 tile = tile_of(index % (rows * columns), rows, columns);
  work.batch = index / (rows * columns);
  work.row = tile.x * Of::cluster_m + (tall ? 0 : cluster_rank() * Of::m);
  work.column = tile.y * Of::cluster_n + (tall ? cluster_rank() * Of::n : 0);
  work.begin = p.sums ? work.batch * p.chunk : 0;
  work.steps = (min(p.k - work.begin, p.chunk) + depth - 1) / depth;
  return true;
}

// Copies an operand of a stage, `extent` rows of A or columns of B from `first` on: to this block, or half of it to both.
// along: k is contiguous in memory.
template <bool along, bool shared, int extent>
__device__ __forceinline__ void fill(unsigned char* tile, const TensorMap& map, Mbarrier* full, int first, int k,
                                     int batch) {
  constexpr unsigned short both = (1 << ranks) - 1;
  constexpr int height = (along ? extent : depth) / (shared ? ranks : 1);
  int skipped = shared ? height * cluster_rank() : 0;
  for (int i = 0; i < (along ? 1 : extent / 64); i++) {
    unsigned char* to = tile + i * box_bytes + skipped * row_bytes;
    int x = along ? k : first + 64 * i, y = (along ? first : k) + skipped;
    if (shared)
      tensor_load_multicast(to, map, full, both, x, y, batch);
    else
      tensor_load(to, map, full, x, y, batch);
  }
}

template <bool across, bool along, bool tall>
__device__ __forceinline__ void load_all(const Product& p, const TensorMap& a, const TensorMap& b, Ring ring) {
  using Of = Tile<tall>;
  Work work;
  for (unsigned i = 0; work_of<tall>(p, i, work); i++) {
    int batch = p.sums ? 0 : work.batch;
    for (unsigned step = 0; step < work.steps; step++, ring.at++) {
      Mbarrier* full = ring.full + ring.slot();
      int k = work.begin + step * depth;
      mbarrier_wait(ring.empty + ring.slot(), ring.parity() ^ 1);
      mbarrier_arrive_expect(full, stage_bytes);
      fill<!across, tall, Of::m>(ring.tile(), a, full, work.row, k, batch);
      fill<along, !tall, Of::n>(ring.tile() + Of::m * row_bytes, b, full, work.column, k, batch);
    }
  }
}

// A stage is left at both blocks: copies of each write to both.
__device__ __forceinline__ void leave(const Ring& ring, unsigned at, unsigned thread) {
  if (thread < ranks) mbarrier_arrive_remote(ring.empty + at % stages, thread);
}

// Four neighbours of A [k, m] in a stage, of each k: 8 bytes of a swizzled row.
__device__ __forceinline__ float4 sum_of_stage(const unsigned char* tile, unsigned row) {
  const unsigned char* box = tile + row / 64 * box_bytes;
  unsigned chunk = row % 64 / 8, half = row / 4 % 2;
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
  for (unsigned k = 0; k < depth; k++) {
    uint2 x = *(const uint2*)(box + k * row_bytes + 16 * (chunk ^ k % 8) + 8 * half);
    sum.x += __uint_as_float(x.x << 16);
    sum.y += __uint_as_float(x.x & 0xffff0000);
    sum.z += __uint_as_float(x.y << 16);
    sum.w += __uint_as_float(x.y & 0xffff0000);
  }
  return sum;
}

// One warp: sums of A [k, m] along k, of 128 rows of C from row `first` of a tile on, in tiles of the first column.
template <bool tall>
__device__ __forceinline__ void sum_all(const Product& p, Ring ring, unsigned first) {
  unsigned lane = threadIdx.x % 32, own = first + 4 * lane;
  Work work;
  for (unsigned i = 0; work_of<tall>(p, i, work); i++) {
    bool wanted = p.a_sums && work.column == 0 && own < Tile<tall>::m;
    float sums[4] = {};
    for (unsigned step = 0; step < work.steps; step++, ring.at++) {
      mbarrier_wait(ring.full + ring.slot(), ring.parity());
      if (wanted) {
        float4 more = sum_of_stage(ring.tile(), own);
        sums[0] += more.x, sums[1] += more.y, sums[2] += more.z, sums[3] += more.w;
      }
      __syncwarp();
      if (tall)
        leave(ring, ring.at, lane);
      else if (lane == 0)
        mbarrier_arrive(ring.empty + ring.slot());
    }
    unsigned row = work.row + own;
#pragma unroll
    for (int e = 0; e < 4; e++) {
      if (wanted && row + e < p.m) p.a_sums[(size_t)work.batch * p.m + row + e] = sums[e];
    }
  }
}

// The sums of a tile, 64 rows each; all but the last stage are left.
template <bool across, bool along, bool tall>
__device__ __forceinline__ void multiply_all(float (&sums)[Tile<tall>::m / 64][Tile<tall>::n / 2], Ring& ring,
                                             unsigned steps, unsigned thread) {
#pragma unroll 1
  for (unsigned step = 0; step < steps; step++, ring.at++) {
    mbarrier_wait(ring.full + ring.slot(), ring.parity());
    const unsigned char *as = ring.tile(), *bs = as + Tile<tall>::m * row_bytes;
    group_fence();
#pragma unroll
    for (unsigned k = 0; k < depth / 16; k++) {
      unsigned long long b = operand_of(bs + k * (along ? 32 : 16 * row_bytes), box_bytes, 8 * row_bytes);
#pragma unroll
      for (unsigned part = 0; part < Tile<tall>::m / 64; part++) {
        const unsigned char* from = as + part * box_bytes + k * (across ? 16 * row_bytes : 32);
        group_multiply<across, !along>(sums[part], operand_of(from, box_bytes, 8 * row_bytes), b, step + k > 0);
      }
    }
    group_commit();
    if (step == 0) continue;
    group_wait<1>();
    leave(ring, ring.at - 1, thread);
  }
}

// The sums of a tile to memory, 64 rows at a time through shared memory.
template <bool tall>
__device__ __forceinline__ void finish(const Product& p, const float (&sums)[Tile<tall>::m / 64][Tile<tall>::n / 2],
                                       float* staged, const Work& work, unsigned group, unsigned thread) {
  constexpr unsigned n = Tile<tall>::n, pitch = Tile<tall>::pitch;
  unsigned lane = thread % 32, first = thread / 32 * 16 + lane / 4;
  auto sync = [group] { barrier_sync(meets + group, group_threads); };
#pragma unroll
  for (unsigned part = 0; part < Tile<tall>::m / 64; part++) {
    sync();
#pragma unroll
    for (unsigned i = 0; i < n / 8; i++) {
      float* to = &staged[first * pitch + 8 * i + lane % 4 * 2];
      *(float2*)to = make_float2(sums[part][4 * i], sums[part][4 * i + 1]);
      *(float2*)(to + 8 * pitch) = make_float2(sums[part][4 * i + 2], sums[part][4 * i + 3]);
    }
    sync();
    StagedRows rows = {work.row + 64 * part, 64, 64};
    finish_tile<64, n, group_threads>(p, staged, pitch, rows, work.column, work.batch, thread, sync);
  }
}

// A warpgroup makes every second tile of the block, and lets the other go on when it is its turn.
template <bool across, bool along, bool tall>
__device__ __forceinline__ void multiply_tiles(const Product& p, Ring ring, float* staged, unsigned group) {
  unsigned thread = threadIdx.x % group_threads, other = 1 - group;
  Work work, next;
  if (group == 1 && work_of<tall>(p, 0, work)) {
    // The first turn is the other's.
    barrier_arrive(multiplies + other, groups * group_threads);
    barrier_arrive(finishes + other, groups * group_threads);
  }
  for (unsigned i = 0; work_of<tall>(p, i, work); i++) {
    if (i % groups != group) {
      ring.at += work.steps;
      continue;
    }
    bool more = work_of<tall>(p, i + 1, next);
    float sums[Tile<tall>::m / 64][Tile<tall>::n / 2];
    barrier_sync(multiplies + group, groups * group_threads);
    multiply_all<across, along, tall>(sums, ring, work.steps, thread);
    if (more) barrier_arrive(multiplies + other, groups * group_threads);
    group_wait<0>();
#pragma unroll
    for (unsigned part = 0; part < Tile<tall>::m / 64; part++) group_settle(sums[part]);
    leave(ring, ring.at - 1, thread);
    barrier_sync(finishes + group, groups * group_threads);
    finish<tall>(p, sums, staged, work, group, thread);
    if (more) barrier_arrive(finishes + other, groups * group_threads);
  }
}

// across: A is [k, m] in memory, else [m, k]. along: B is [n, k], else [k, n].
template <bool across, bool along, bool tall>
__device__ __forceinline__ void product(const TensorMap& a, const TensorMap& b, const Product& p) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ Mbarrier full[stages], empty[stages];
  Ring ring = {shared, full, empty, 0};
  if (threadIdx.x == 0) {
    prefetch_map(a);
    prefetch_map(b);
    for (unsigned i = 0; i < stages; i++) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, ranks + (across ? Tile<tall>::sum_arrivals : 0));
    }
    fence_mbarrier_init();
  }
  cluster_arrive();
  cluster_wait();
  unsigned group = threadIdx.x / group_threads, warp = threadIdx.x / 32;
  if (group == groups) {
    fewer_registers<40>();
    unsigned role = warp - groups * 4;
    if (role == 0) {
      if (elect_one()) load_all<across, along, tall>(p, a, b, ring);
    } else if (across && role <= Tile<tall>::sum_warps) {
      sum_all<tall>(p, ring, 128 * (role - 1));
    }
  } else {
    more_registers<232>();
    multiply_tiles<across, along, tall>(p, ring, (float*)(shared + stages * stage_bytes), group);
  }
  __syncwarp();  // with the lane that loads
  cluster_arrive();
  cluster_wait();
}

#define PRODUCT(name, across, along, tall) \
  extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(384, 1) \
      name(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const Product p) { \
    product<across, along, tall>(a, b, p); \
  }
PRODUCT(nt_wide, false, true, false)
PRODUCT(nn_wide, false, false, false)
PRODUCT(tn_wide, true, false, false)
PRODUCT(nt_tall, false, true, true)
PRODUCT(nn_tall, false, false, true)
PRODUCT(tn_tall, true, false, true)
