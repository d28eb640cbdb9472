// Proofs about warps: shuffles, votes, named barriers.
#include "ptx.cuh"
#include "twins.cuh"

// The sum of a warp in each of its lanes; half of the lanes take part.
template <bool broken>
__device__ void divergent_shuffle(const float* x, float* y) {
  float v = x[threadIdx.x];
  if (!broken || threadIdx.x < 16) {
    for (int step = 16; step > 0; step /= 2) {
      v += __shfl_xor_sync(0xffffffff, v, step);  // CAUGHT: divergent_shuffle
    }
  }
  y[threadIdx.x] = v;
}
TWINS(divergent_shuffle, (const float* x, float* y), (x, y))

// Both sides of a branch shuffle, each for itself, with a mask that names all.
template <bool broken>
__device__ void two_shuffles(const float* x, float* y) {
  float v = x[threadIdx.x];
  if (broken && threadIdx.x % 32 < 16) {
    v = -__shfl_down_sync(0xffffffff, v, 1) * 3.0f;
  } else {
    v = __shfl_down_sync(0xffffffff, v, 1);  // CAUGHT: two_shuffles
  }
  y[threadIdx.x] = v;
}
TWINS(two_shuffles, (const float* x, float* y), (x, y))

// A shuffle among 16 lanes that reads one of the other 16.
template <bool broken>
__device__ void outside_mask(const float* x, float* y) {
  int lane = threadIdx.x % 32;
  float v = x[threadIdx.x];
  if (lane < 16) {
    v = __shfl_xor_sync(0x0000ffff, v, broken ? 16 : 8);  // CAUGHT: outside_mask
  }
  y[threadIdx.x] = v;
}
TWINS(outside_mask, (const float* x, float* y), (x, y))

// Lanes beyond the end return before the warp sums.
template <bool broken>
__device__ void exited_lanes(const float* x, float* y, int n) {
  int i = threadIdx.x;
  if (broken && i >= n) return;
  float v = i < n ? x[i] : 0.0f;
  v += __shfl_xor_sync(0xffffffff, v, 1);  // CAUGHT: exited_lanes
  if (i < n) y[i] = v;
}
TWINS(exited_lanes, (const float* x, float* y, int n), (x, y, n))

// One warp produces, one consumes; 64 threads meet at barrier 1, unless the count says 96.
template <bool broken>
__device__ void named_barrier_count(const float* x, float* y) {
  __shared__ float tile[32];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int threads = broken ? 96 : 64;
  if (warp == 0) {
    tile[lane] = x[lane];
    barrier_arrive(1, threads);
  } else if (warp == 1) {
    barrier_sync(1, threads);  // CAUGHT: named_barrier_count
    y[lane] = tile[31 - lane];
  }
}
TWINS(named_barrier_count, (const float* x, float* y), (x, y))

// Warps 0 and 1 exchange at barrier 1, warps 2 and 3 at barrier 2; 3 reads what 1 wrote, which nothing orders.
template <bool broken>
__device__ void wrong_barrier(const float* x, float* y) {
  __shared__ float tile[128];
  int i = threadIdx.x, pair = i / 64;
  tile[i] = x[i];
  barrier_sync(1 + pair, 64);
  y[i] = tile[broken ? 127 - i : 64 * pair + 63 - i % 64];  // CAUGHT: wrong_barrier
}
TWINS(wrong_barrier, (const float* x, float* y), (x, y))

// Everything that a warp can compute together, for the host to check. Thread i of 64 writes out[16 i ...].
extern "C" __global__ void warp_functions(int* out) {
  unsigned all = 0xffffffff;
  int i = threadIdx.x, lane = i % 32;
  int* mine = out + 16 * i;
  mine[0] = __shfl_sync(all, 100 + lane, 5);
  mine[1] = __shfl_sync(all, lane, lane + 3, 8);
  mine[2] = __shfl_up_sync(all, lane, 2, 16);
  mine[3] = __shfl_down_sync(all, lane, 3, 16);
  mine[4] = __shfl_xor_sync(all, lane, 9);
  mine[5] = (int)__ballot_sync(all, lane % 3 == 0);
  mine[6] = __all_sync(all, i < 32);
  mine[7] = __any_sync(all, lane == 7);
  mine[8] = __reduce_add_sync(all, lane);
  mine[9] = __reduce_max_sync(all, lane ^ 5);
  mine[10] = __reduce_min_sync(all, -lane);
  mine[11] = __syncthreads_count(i % 4 == 0);
  mine[12] = __clz(lane) + 100 * __popc(lane) + 10000 * __ffs(lane);
  mine[13] = (int)__umulhi(0x80000000u, (unsigned)lane);
  mine[14] = (int)__brev((unsigned)lane);
  mine[15] = __mulhi(-0x40000000, lane);
}

// Conversions of the wrappers, for the host to check: bf16, half, tf32 and approximations of x[i].
extern "C" __global__ void conversions(const float* x, unsigned* out, int n) {
  int i = threadIdx.x;
  if (i >= n) return;
  out[8 * i] = bf16_of_float(x[i]);
  out[8 * i + 1] = f16_of_float(x[i]);
  out[8 * i + 2] = round_to_tf32(x[i]);
  out[8 * i + 3] = bf16_pair(x[i], 1.0f);
  out[8 * i + 4] = __float_as_uint(float_of_f16(f16_of_float(x[i])));
  out[8 * i + 5] = __float_as_uint(float_of_bf16(bf16_of_float(x[i])));
  out[8 * i + 6] = __float_as_uint(exp2_approx(x[i]));
  out[8 * i + 7] = __float_as_uint(reciprocal_approx(x[i]));
}
