// Proofs about clusters of sm_90: barriers of a cluster, arrivals at another block's mbarrier, copies to several blocks.
#include "ptx90.cuh"
#include "twins.cuh"

enum Mistake {
  none,
  missing_first_sync,
  missing_last_sync,
  own_release,
  too_few_bytes,
  too_many_bytes,
  one_block_only,
  absent_block,
  late_arrival,
};

constexpr int side = 64, stages = 2, tile_bytes = side * side * 2, stage_bytes = 2 * tile_bytes, ranks = 2;

// Rank r brings its own tile [64, 64] of a, and half of the tile of b that both use: rows 32 r to 32 r + 31.
template <int mistake>
__device__ void produce(unsigned char* ring, Mbarrier* full, Mbarrier* empty, const TensorMap& a, const TensorMap& b,
                        int steps) {
  int rank = cluster_rank();
  for (int i = 0; i < steps; i++) {
    int slot = i % stages, turn = i / stages % 2;
    unsigned char* tile = ring + slot * stage_bytes;
    mbarrier_wait(empty + slot, turn ^ 1);
    mbarrier_arrive_expect(full + slot, stage_bytes - (mistake == too_few_bytes ? 128 : 0) +
                                            (mistake == too_many_bytes ? 128 : 0));
    tensor_load(tile, a, full + slot, side * i, side * (int)blockIdx.x);
    unsigned short blocks = mistake == one_block_only ? 1 << rank : mistake == absent_block ? 7 : 3;
    unsigned char* half = tile + tile_bytes + rank * tile_bytes / 2;
    tensor_load_multicast(half, b, full + slot, blocks, side * i, side / ranks * rank, 0);  // CAUGHT: absent_block
  }
}

// A slot is left by the consumers of both blocks, since the copies of each write to both.
template <int mistake>
__device__ void consume(float (&sums)[32], unsigned char* ring, Mbarrier* full, Mbarrier* empty, int steps) {
  for (int i = 0; i < steps; i++) {
    int slot = i % stages, turn = i / stages % 2;
    unsigned char* tile = ring + slot * stage_bytes;
    mbarrier_wait(full + slot, turn);
    group_fence();
    for (int k = 0; k < 4; k++) {
      group_multiply<false, false>(sums, operand_of(tile + 32 * k, 16, 1024),
                                   operand_of(tile + tile_bytes + 32 * k, 16, 1024), i + k > 0);
    }
    group_commit();
    group_wait<0>();
    if (threadIdx.x >= ranks) continue;
    if (mistake == own_release) {
      mbarrier_arrive(empty + slot);
    } else {
      mbarrier_arrive_remote(empty + slot, threadIdx.x);
    }
  }
}

// c = a bᵀ, a [128, k] and b [64, k]: two blocks of a cluster with 64 rows each.
template <int mistake>
__device__ void shared_operand(const TensorMap& a, const TensorMap& b, float* c, int steps) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ Mbarrier full[stages], empty[stages];
  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; i++) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, ranks);
    }
    fence_mbarrier_init();
  }
  if (mistake == missing_first_sync) {
    __syncthreads();
  } else {
    cluster_arrive();
    cluster_wait();
  }
  if (threadIdx.x >= 128) {
    if (threadIdx.x / 32 == 4 && elect_one()) produce<mistake>(memory, full, empty, a, b, steps);
  } else {
    float sums[32];
    consume<mistake>(sums, memory, full, empty, steps);
    int t = threadIdx.x;
    for (int i = 0; i < 32; i++) {
      int row = t / 32 * 16 + t % 32 / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (t % 4) + i % 2;
      c[(side * blockIdx.x + row) * side + column] = sums[i];
    }
  }
  if (mistake == missing_last_sync) return;
  cluster_arrive();
  cluster_wait();
}

#define SHARED_OPERAND(mistake) \
  extern "C" __global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(256, 1) \
      cluster_##mistake(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* c, \
                        int steps) { \
    shared_operand<mistake>(a, b, c, steps); \
  }
SHARED_OPERAND(none)
SHARED_OPERAND(missing_first_sync)
SHARED_OPERAND(missing_last_sync)
SHARED_OPERAND(own_release)
SHARED_OPERAND(too_few_bytes)
SHARED_OPERAND(too_many_bytes)
SHARED_OPERAND(one_block_only)
SHARED_OPERAND(absent_block)

// Each block of 100 threads counts the other's; y[rank] = the other's blockIdx.x, and one.
template <int mistake>
__device__ void count(float* y) {
  __shared__ Mbarrier arrivals;
  unsigned rank = cluster_rank();
  if (threadIdx.x == 0) {
    mbarrier_init(&arrivals, 100);
    fence_mbarrier_init();
  }
  cluster_arrive();
  cluster_wait();
  if (mistake == late_arrival && rank == 1) return;
  mbarrier_arrive_remote(&arrivals, rank ^ 1);  // CAUGHT: late_arrival
  mbarrier_wait(&arrivals, 0);
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x] = (float)(blockIdx.x ^ 1) + 1.0f;
  cluster_arrive();
  cluster_wait();
}
extern "C" __global__ void __cluster_dims__(2, 1, 1) count_none(float* y) { count<none>(y); }
extern "C" __global__ void __cluster_dims__(2, 1, 1) count_late_arrival(float* y) { count<late_arrival>(y); }
