// What sm_90 adds to ptx.cuh, for sm_90a: mbarriers, clusters, bulk copies of tensors (TMA), warpgroups; and, through
// wgmma.cuh, their products.
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
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n\t}" ::"r"(shared_address(barrier)),
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

// Brings a map into its cache: before the first copy.
__device__ __forceinline__ void prefetch_map(const TensorMap& map) {
#ifndef VITRUM_EMULATOR
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#endif
}

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
                                                      unsigned short blocks, int x, int y) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_load_multicast(tile, &map, barrier, blocks, {2, {x, y}});
#else
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%4, %5}], [%2], %3;" ::"r"(shared_address(tile)),
      "l"(&map), "r"(shared_address(barrier)), "h"(blocks), "r"(x), "r"(y)
      : "memory");
#endif
}
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
  emulator::bulk_wait_read(groups);
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

#include "wgmma.cuh"
