// What sm_90 adds to ptx.cuh, for sm_90a: mbarriers, bulk copies of tensors (TMA), products of warpgroups (wgmma).
//
// As there, each function has PTX for the device and a call of the emulator. "Asynchronous" below is what PTX calls the
// async proxy: bulk copies and wgmma use shared memory through it, and what threads have written there reaches them
// only behind fence_async.
#pragma once
#include "ptx.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
#error "ptx90.cuh is for sm_90a"
#endif

// A box of a tensor, as cuTensorMapEncodeTiled describes it: CUtensorMap, passed as a const __grid_constant__
// parameter.
struct alignas(64) TensorMap {
  unsigned long long opaque[16];
};

// ---- Barriers in shared memory ----
// 8 bytes each. A phase is complete when `arrivals` threads have arrived and all bytes that they announced have come;
// phases have parity 0, 1, 0, ... Waiting for parity 1 at first returns at once.

typedef unsigned long long Mbarrier;

__device__ __forceinline__ void mbarrier_init(Mbarrier* barrier, unsigned arrivals) {
#ifdef VITRUM_EMULATOR
  emulator::mbarrier_init(barrier, arrivals);
#else
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#endif
}

// Bulk copies see the barriers that this thread has initialised. The block's threads need __syncthreads() as well.
__device__ __forceinline__ void fence_mbarrier_init() {
#ifdef VITRUM_EMULATOR
  emulator::fence_mbarrier_init();
#else
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

// Before its memory is used otherwise.
__device__ __forceinline__ void mbarrier_invalidate(Mbarrier* barrier) {
#ifdef VITRUM_EMULATOR
  emulator::mbarrier_invalidate(barrier);
#else
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}

__device__ __forceinline__ void mbarrier_arrive(Mbarrier* barrier) {
#ifdef VITRUM_EMULATOR
  emulator::mbarrier_arrive(barrier);
#else
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#endif
}

// Announces `bytes` bytes of copies first; they are issued after it.
__device__ __forceinline__ void mbarrier_arrive_expect(Mbarrier* barrier, unsigned bytes) {
#ifdef VITRUM_EMULATOR
  emulator::mbarrier_arrive_expect(barrier, bytes);
#else
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
#endif
}

// At the same barrier of the cluster's block `rank`, which still runs.
__device__ __forceinline__ void mbarrier_arrive_remote(Mbarrier* barrier, unsigned rank) {
#ifdef VITRUM_EMULATOR
  emulator::mbarrier_arrive_remote(barrier, rank);
#else
  asm volatile(
      "{\n\t.reg .b32 remote;\n\t"
      "mapa.shared::cluster.u32 remote, %0, %1;\n\t"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n\t}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
#endif
}

// Until the phase of this parity, the current one or the one before it, is complete.
__device__ __forceinline__ void mbarrier_wait(Mbarrier* barrier, unsigned parity) {
#ifdef VITRUM_EMULATOR
  emulator::mbarrier_wait(barrier, parity);
#else
  unsigned address = shared_address(barrier), done;
  do {
    asm volatile(
        "{\n\t.reg .pred p;\n\t"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
        "selp.u32 %0, 1, 0, p;\n\t}"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
  } while (!done);
#endif
}

// What was written to shared memory before, by this thread or seen by it, reaches asynchronous readers started after.
__device__ __forceinline__ void fence_async() {
#ifdef VITRUM_EMULATOR
  emulator::fence_proxy_async();
#else
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// ---- Clusters: blocks that run together (__cluster_dims__) ----

__device__ __forceinline__ unsigned cluster_rank() {
#ifdef VITRUM_EMULATOR
  return emulator::coordinate(emulator::cluster_rank);
#else
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#endif
}

// All threads of the cluster's blocks arrive, then wait for each other: before they use each other's shared memory, and
// before they exit where others may still use theirs.
__device__ __forceinline__ void cluster_arrive() {
#ifdef VITRUM_EMULATOR
  emulator::cluster_arrive();
#else
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait() {
#ifdef VITRUM_EMULATOR
  emulator::cluster_wait();
#else
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
}

// ---- Bulk copies of boxes ----
// One thread starts a copy of the map's box whose first element is (x, y, ..), x the contiguous dimension; its rows lie
// one after another in the tile. Tiles of maps with a swizzle of 128, 64, 32 bytes are aligned to 1024, 512, 256 bytes,
// others to 128. What lies outside the tensor is read as zero and not written.

#define VITRUM_TENSOR_LOAD(rank, numbers, ...) \
  asm volatile("cp.async.bulk.tensor." rank \
               ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, " numbers "], [%2];" ::"r"( \
                   shared_address(tile)), \
               "l"(&map), "r"(shared_address(barrier)), __VA_ARGS__ \
               : "memory")
#define VITRUM_TENSOR_STORE(rank, numbers, ...) \
  asm volatile("cp.async.bulk.tensor." rank ".global.shared::cta.tile.bulk_group [%0, " numbers "], [%1];" ::"l"( \
                   &map), \
               "r"(shared_address(tile)), __VA_ARGS__ \
               : "memory")

// Its bytes count at the barrier.
__device__ __forceinline__ void tensor_load(void* tile, const TensorMap& map, Mbarrier* barrier, int x, int y) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_load(tile, &map, barrier, {2, {x, y}});
#else
  VITRUM_TENSOR_LOAD("2d", "{%3, %4}", "r"(x), "r"(y));
#endif
}
__device__ __forceinline__ void tensor_load(void* tile, const TensorMap& map, Mbarrier* barrier, int x, int y, int z) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_load(tile, &map, barrier, {3, {x, y, z}});
#else
  VITRUM_TENSOR_LOAD("3d", "{%3, %4, %5}", "r"(x), "r"(y), "r"(z));
#endif
}
__device__ __forceinline__ void tensor_load(void* tile, const TensorMap& map, Mbarrier* barrier, int x, int y, int z,
                                            int u) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_load(tile, &map, barrier, {4, {x, y, z, u}});
#else
  VITRUM_TENSOR_LOAD("4d", "{%3, %4, %5, %6}", "r"(x), "r"(y), "r"(z), "r"(u));
#endif
}
__device__ __forceinline__ void tensor_load(void* tile, const TensorMap& map, Mbarrier* barrier, int x, int y, int z,
                                            int u, int v) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_load(tile, &map, barrier, {5, {x, y, z, u, v}});
#else
  VITRUM_TENSOR_LOAD("5d", "{%3, %4, %5, %6, %7}", "r"(x), "r"(y), "r"(z), "r"(u), "r"(v));
#endif
}

// To the same place in each block of the cluster whose bit is set in `blocks`; the bytes count at the barrier of each,
// where they may come before they are announced.
__device__ __forceinline__ void tensor_load_multicast(void* tile, const TensorMap& map, Mbarrier* barrier,
                                                      unsigned short blocks, int x, int y, int z) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_load_multicast(tile, &map, barrier, blocks, {3, {x, y, z}});
#else
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5, %6}], [%2], %3;" ::"r"(shared_address(tile)),
      "l"(&map), "r"(shared_address(barrier)), "h"(blocks), "r"(x), "r"(y), "r"(z)
      : "memory");
#endif
}

// The threads that wrote the tile have called fence_async, and a barrier lies between. Waited for as a group.
__device__ __forceinline__ void tensor_store(const TensorMap& map, const void* tile, int x, int y) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_store(&map, tile, {2, {x, y}});
#else
  VITRUM_TENSOR_STORE("2d", "{%2, %3}", "r"(x), "r"(y));
#endif
}
__device__ __forceinline__ void tensor_store(const TensorMap& map, const void* tile, int x, int y, int z) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_store(&map, tile, {3, {x, y, z}});
#else
  VITRUM_TENSOR_STORE("3d", "{%2, %3, %4}", "r"(x), "r"(y), "r"(z));
#endif
}
__device__ __forceinline__ void tensor_store(const TensorMap& map, const void* tile, int x, int y, int z, int u) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_store(&map, tile, {4, {x, y, z, u}});
#else
  VITRUM_TENSOR_STORE("4d", "{%2, %3, %4, %5}", "r"(x), "r"(y), "r"(z), "r"(u));
#endif
}
__device__ __forceinline__ void tensor_store(const TensorMap& map, const void* tile, int x, int y, int z, int u,
                                             int v) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_store(&map, tile, {5, {x, y, z, u, v}});
#else
  VITRUM_TENSOR_STORE("5d", "{%2, %3, %4, %5, %6}", "r"(x), "r"(y), "r"(z), "r"(u), "r"(v));
#endif
}
#undef VITRUM_TENSOR_LOAD
#undef VITRUM_TENSOR_STORE

__device__ __forceinline__ void tensor_store_commit() {
#ifdef VITRUM_EMULATOR
  emulator::bulk_commit();
#else
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}

// All but this thread's last `groups` groups are written.
template <int groups>
__device__ __forceinline__ void tensor_store_wait() {
#ifdef VITRUM_EMULATOR
  emulator::bulk_wait(groups);
#else
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(groups) : "memory");
#endif
}

// They have read their tiles, which may be used again.
template <int groups>
__device__ __forceinline__ void tensor_store_wait_read() {
#ifdef VITRUM_EMULATOR
  emulator::bulk_wait(groups);
#else
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(groups) : "memory");
#endif
}

// ---- Warpgroups: 4 warps, the first a multiple of 4 ----

// Registers per thread from here on, a multiple of 8 from 24 to 256. The kernel has __launch_bounds__(threads, 1),
// without which ptxas ignores this.
template <int count>
__device__ __forceinline__ void fewer_registers() {
#ifdef VITRUM_EMULATOR
  emulator::set_registers(count, false);
#else
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
#endif
}
template <int count>
__device__ __forceinline__ void more_registers() {
#ifdef VITRUM_EMULATOR
  emulator::set_registers(count, true);
#else
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
#endif
}

// True for one lane of the warp, always the same. All lanes call.
__device__ __forceinline__ bool elect_one() {
#ifdef VITRUM_EMULATOR
  return emulator::elect_one();
#else
  unsigned elected;
  asm volatile(
      "{\n\t.reg .pred p;\n\t"
      "elect.sync _|p, 0xffffffff;\n\t"
      "selp.u32 %0, 1, 0, p;\n\t}"
      : "=r"(elected));
  return elected != 0;
#endif
}

// ---- Matrices of 8 x 8 halfwords from registers to shared memory ----
// The way back of load_matrix in ptx.cuh: lanes 8 m to 8 m + 7 give the rows of matrix m, lane l = 4 g + t the elements
// (g, 2 t) and (g, 2 t + 1); transposed, (2 t, g) and (2 t + 1, g). All lanes of the warp call.

#ifdef VITRUM_EMULATOR
#define VITRUM_STORE_MATRIX(count, transposed, ...) emulator::store_matrix(row, in, count, transposed)
#else
#define VITRUM_STORE_MATRIX(count, transposed, ...) asm volatile(__VA_ARGS__)
#endif

__device__ __forceinline__ void store_matrix_x2(void* row, const unsigned (&in)[2]) {
  VITRUM_STORE_MATRIX(2, false,
                      "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};"
                      ::"r"(shared_address(row)), "r"(in[0]), "r"(in[1])
                      : "memory");
}
__device__ __forceinline__ void store_matrix_x2_transposed(void* row, const unsigned (&in)[2]) {
  VITRUM_STORE_MATRIX(2, true,
                      "stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};"
                      ::"r"(shared_address(row)), "r"(in[0]), "r"(in[1])
                      : "memory");
}
__device__ __forceinline__ void store_matrix_x4(void* row, const unsigned (&in)[4]) {
  VITRUM_STORE_MATRIX(4, false,
                      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                      ::"r"(shared_address(row)), "r"(in[0]), "r"(in[1]), "r"(in[2]), "r"(in[3])
                      : "memory");
}
__device__ __forceinline__ void store_matrix_x4_transposed(void* row, const unsigned (&in)[4]) {
  VITRUM_STORE_MATRIX(4, true,
                      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
                      ::"r"(shared_address(row)), "r"(in[0]), "r"(in[1]), "r"(in[2]), "r"(in[3])
                      : "memory");
}
#undef VITRUM_STORE_MATRIX

// ---- Products of a warpgroup: bf16 operands, float32 sums ----
// d [64, N] += a [64, 16] b [16, N], N a multiple of 16 up to 256. Register i of thread t of the warpgroup is in row
// 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (t % 4) + i % 2. Products are started, closed as a
// group and waited for; until then neither their operands are written nor d is touched. group_fence comes before the
// first product and after every other use of d, and of operands in registers.

__device__ __forceinline__ void group_fence() {
#ifdef VITRUM_EMULATOR
  emulator::wgmma_fence();
#else
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

__device__ __forceinline__ void group_commit() {
#ifdef VITRUM_EMULATOR
  emulator::wgmma_commit();
#else
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

template <int groups>
__device__ __forceinline__ void group_wait() {
#ifdef VITRUM_EMULATOR
  emulator::wgmma_wait(groups);
#else
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
#endif
}

// Behind a wait: the compiler computes nothing from these sums before it.
template <int count>
__device__ __forceinline__ void group_settle(float (&d)[count]) {
#ifndef VITRUM_EMULATOR
#pragma unroll
  for (int i = 0; i < count; i++) asm volatile("" : "+f"(d[i])::"memory");
#endif
}

// Behind a wait: operands in registers, kept there until now.
template <int steps>
__device__ __forceinline__ void group_keep(const unsigned (&a)[steps][4]) {
#ifndef VITRUM_EMULATOR
#pragma unroll
  for (int k = 0; k < steps; k++)
    asm volatile("" ::"r"(a[k][0]), "r"(a[k][1]), "r"(a[k][2]), "r"(a[k][3]) : "memory");
#endif
}

// Describes an operand in shared memory whose tiles of 8 rows of `swizzle` bytes (128, 64 or 32) hold their 16-byte
// chunks in that swizzle, as bulk copies leave them. Rows run along k, or along m or n in transposed operands.
//
// Not transposed: `stride` is from 8 rows (of m or n) to the next 8; the next 16 of k begin 32 bytes on, within the
// row; `leading` is not used. Transposed: `stride` is from 8 rows (of k) to the next 8, `leading` from one row of
// columns (64 of m or n under a swizzle of 128 bytes) to the next; the next 16 of k begin 2 * stride on. All in bytes.
template <int swizzle = 128>
__device__ __forceinline__ unsigned long long operand_of(const void* start, unsigned leading, unsigned stride) {
  static_assert(swizzle == 128 || swizzle == 64 || swizzle == 32, "a swizzle of 128, 64 or 32 bytes");
  unsigned long long address = (shared_address(start) & 0x3ffff) >> 4;
  return address | (unsigned long long)(leading >> 4 & 0x3fff) << 16 |
         (unsigned long long)(stride >> 4 & 0x3fff) << 32 |
         (swizzle == 128  ? 1ull
          : swizzle == 64 ? 2ull
                          : 3ull)
             << 62;
}

#ifndef VITRUM_EMULATOR
#define VITRUM_EIGHT_SUMS(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define VITRUM_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7"
#define VITRUM_SUMS_16 VITRUM_EIGHT_SUMS(0)
#define VITRUM_NAMES_32 VITRUM_NAMES_16 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define VITRUM_SUMS_32 VITRUM_SUMS_16, VITRUM_EIGHT_SUMS(8)
#define VITRUM_NAMES_48 VITRUM_NAMES_32 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define VITRUM_SUMS_48 VITRUM_SUMS_32, VITRUM_EIGHT_SUMS(16)
#define VITRUM_NAMES_64 VITRUM_NAMES_48 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define VITRUM_SUMS_64 VITRUM_SUMS_48, VITRUM_EIGHT_SUMS(24)
#define VITRUM_NAMES_80 VITRUM_NAMES_64 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define VITRUM_SUMS_80 VITRUM_SUMS_64, VITRUM_EIGHT_SUMS(32)
#define VITRUM_NAMES_96 VITRUM_NAMES_80 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define VITRUM_SUMS_96 VITRUM_SUMS_80, VITRUM_EIGHT_SUMS(40)
#define VITRUM_NAMES_112 VITRUM_NAMES_96 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define VITRUM_SUMS_112 VITRUM_SUMS_96, VITRUM_EIGHT_SUMS(48)
#define VITRUM_NAMES_128 VITRUM_NAMES_112 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define VITRUM_SUMS_128 VITRUM_SUMS_112, VITRUM_EIGHT_SUMS(56)
#define VITRUM_NAMES_144 VITRUM_NAMES_128 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define VITRUM_SUMS_144 VITRUM_SUMS_128, VITRUM_EIGHT_SUMS(64)
#define VITRUM_NAMES_160 VITRUM_NAMES_144 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define VITRUM_SUMS_160 VITRUM_SUMS_144, VITRUM_EIGHT_SUMS(72)
#define VITRUM_NAMES_176 VITRUM_NAMES_160 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define VITRUM_SUMS_176 VITRUM_SUMS_160, VITRUM_EIGHT_SUMS(80)
#define VITRUM_NAMES_192 VITRUM_NAMES_176 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define VITRUM_SUMS_192 VITRUM_SUMS_176, VITRUM_EIGHT_SUMS(88)
#define VITRUM_NAMES_208 VITRUM_NAMES_192 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define VITRUM_SUMS_208 VITRUM_SUMS_192, VITRUM_EIGHT_SUMS(96)
#define VITRUM_NAMES_224 VITRUM_NAMES_208 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define VITRUM_SUMS_224 VITRUM_SUMS_208, VITRUM_EIGHT_SUMS(104)
#define VITRUM_NAMES_240 VITRUM_NAMES_224 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define VITRUM_SUMS_240 VITRUM_SUMS_224, VITRUM_EIGHT_SUMS(112)
#define VITRUM_NAMES_256 VITRUM_NAMES_240 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define VITRUM_SUMS_256 VITRUM_SUMS_240, VITRUM_EIGHT_SUMS(120)
#define VITRUM_WGMMA(n, operands, accumulates, transposed) \
  "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, " accumulates ", 0;\n\twgmma.mma_async.sync.aligned.m64n" #n \
  "k16.f32.bf16.bf16 {" VITRUM_NAMES_##n "}, " operands ", p, 1, 1, " transposed ";\n\t}"
#endif

// The products of one N; o0 to o6 are the numbers of the operands behind the sums. Both operands in shared memory:
//
//   group_multiply<a_transposed, b_transposed>(d, a, b, accumulate)
//
// or a in registers, four of each thread: register i holds row 16 (t / 32) + t % 32 / 4 + 8 (i % 2) and columns
// 2 (t % 4) + 8 (i / 2) and the next, as mma.sync's:
//
//   group_multiply<b_transposed>(d, a, b, accumulate)
//
// Without `accumulate`, d is overwritten.
#ifdef VITRUM_EMULATOR
#define VITRUM_MULTIPLY_SHARED(n, o0, o1, o2, o3, o4) \
  emulator::wgmma(d, n, a, b, accumulate, a_transposed, b_transposed)
#define VITRUM_MULTIPLY_REGISTERS(n, o0, o1, o2, o3, o4, o5, o6) \
  emulator::wgmma_of_registers(d, n, a, b, accumulate, b_transposed)
#else
#define VITRUM_MULTIPLY_SHARED(n, o0, o1, o2, o3, o4) \
  asm volatile(VITRUM_WGMMA(n, "%" #o0 ", %" #o1, "%" #o2, "%" #o3 ", %" #o4) \
               : VITRUM_SUMS_##n \
               : "l"(a), "l"(b), "r"((int)accumulate), "n"((int)a_transposed), "n"((int)b_transposed))
#define VITRUM_MULTIPLY_REGISTERS(n, o0, o1, o2, o3, o4, o5, o6) \
  asm volatile(VITRUM_WGMMA(n, "{%" #o0 ", %" #o1 ", %" #o2 ", %" #o3 "}, %" #o4, "%" #o5, "%" #o6) \
               : VITRUM_SUMS_##n \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)accumulate), "n"((int)b_transposed))
#endif
#define VITRUM_GROUP_MULTIPLY(n, o0, o1, o2, o3, o4, o5, o6) \
  template <bool a_transposed, bool b_transposed> \
  __device__ __forceinline__ void group_multiply(float (&d)[n / 2], unsigned long long a, unsigned long long b, \
                                                 bool accumulate) { \
    VITRUM_MULTIPLY_SHARED(n, o0, o1, o2, o3, o4); \
  } \
  template <bool b_transposed> \
  __device__ __forceinline__ void group_multiply(float (&d)[n / 2], const unsigned (&a)[4], unsigned long long b, \
                                                 bool accumulate) { \
    VITRUM_MULTIPLY_REGISTERS(n, o0, o1, o2, o3, o4, o5, o6); \
  }
VITRUM_GROUP_MULTIPLY(16, 8, 9, 10, 11, 12, 13, 14)
VITRUM_GROUP_MULTIPLY(32, 16, 17, 18, 19, 20, 21, 22)
VITRUM_GROUP_MULTIPLY(48, 24, 25, 26, 27, 28, 29, 30)
VITRUM_GROUP_MULTIPLY(64, 32, 33, 34, 35, 36, 37, 38)
VITRUM_GROUP_MULTIPLY(80, 40, 41, 42, 43, 44, 45, 46)
VITRUM_GROUP_MULTIPLY(96, 48, 49, 50, 51, 52, 53, 54)
VITRUM_GROUP_MULTIPLY(112, 56, 57, 58, 59, 60, 61, 62)
VITRUM_GROUP_MULTIPLY(128, 64, 65, 66, 67, 68, 69, 70)
VITRUM_GROUP_MULTIPLY(144, 72, 73, 74, 75, 76, 77, 78)
VITRUM_GROUP_MULTIPLY(160, 80, 81, 82, 83, 84, 85, 86)
VITRUM_GROUP_MULTIPLY(176, 88, 89, 90, 91, 92, 93, 94)
VITRUM_GROUP_MULTIPLY(192, 96, 97, 98, 99, 100, 101, 102)
VITRUM_GROUP_MULTIPLY(208, 104, 105, 106, 107, 108, 109, 110)
VITRUM_GROUP_MULTIPLY(224, 112, 113, 114, 115, 116, 117, 118)
VITRUM_GROUP_MULTIPLY(240, 120, 121, 122, 123, 124, 125, 126)
VITRUM_GROUP_MULTIPLY(256, 128, 129, 130, 131, 132, 133, 134)
#undef VITRUM_GROUP_MULTIPLY
#undef VITRUM_MULTIPLY_SHARED
#undef VITRUM_MULTIPLY_REGISTERS
