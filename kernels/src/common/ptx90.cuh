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

// ---- Bulk copies of boxes ----
// One thread starts a copy of the map's box at (x, y), x the contiguous dimension. Tiles of maps with a swizzle of 128
// bytes are aligned to 1024 bytes, others to 128. What lies outside the tensor is read as zero and not written.

// Its bytes count at the barrier.
__device__ __forceinline__ void tensor_load(void* tile, const TensorMap& map, Mbarrier* barrier, int x, int y) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_load(tile, &map, barrier, x, y);
#else
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
          "r"(shared_address(tile)),
      "l"(&map), "r"(shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
#endif
}

// The threads that wrote the tile have called fence_async, and a barrier lies between. Waited for as a group.
__device__ __forceinline__ void tensor_store(const TensorMap& map, const void* tile, int x, int y) {
#ifdef VITRUM_EMULATOR
  emulator::tensor_store(&map, tile, x, y);
#else
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
               "r"(shared_address(tile)), "r"(x), "r"(y)
               : "memory");
#endif
}

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
  emulator::set_registers(count);
#else
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
#endif
}
template <int count>
__device__ __forceinline__ void more_registers() {
#ifdef VITRUM_EMULATOR
  emulator::set_registers(count);
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

// ---- Products of a warpgroup: bf16 operands in shared memory, float32 sums ----
// d [64, N] += a [64, 16] b [16, N]. Register i of thread t of the warpgroup is in row
// 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (t % 4) + i % 2. Products are started, closed as a
// group and waited for; until then neither their operands are written nor d is touched. group_fence comes before the
// first product and after every other use of d.

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

// Describes an operand whose tiles of 8 rows of 128 bytes, each 1024 bytes, hold their 16-byte chunks in the swizzle of
// 128 bytes. Rows run along k, or along m or n in transposed operands.
//
// Not transposed: `stride` is from 8 rows (of m or n) to the next 8; the next 16 of k begin 32 bytes on; `leading` is
// not used. Transposed: `stride` is from 8 rows (of k) to the next 8, `leading` from 64 columns (of m or n) to the next
// 64; the next 16 of k begin 2 * stride on. All in bytes.
__device__ __forceinline__ unsigned long long operand_of(const void* start, unsigned leading, unsigned stride) {
  unsigned long long address = (shared_address(start) & 0x3ffff) >> 4;
  return address | (unsigned long long)(leading >> 4 & 0x3fff) << 16 |
         (unsigned long long)(stride >> 4 & 0x3fff) << 32 | 1ull << 62;
}

#ifdef VITRUM_EMULATOR
#define VITRUM_GROUP_MULTIPLY(n) emulator::wgmma(d, n, a, b, accumulate, a_transposed, b_transposed)
#else
#define VITRUM_GROUP_MULTIPLY(n) VITRUM_GROUP_MULTIPLY_##n
#define VITRUM_SUMS(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7]), "+f"(d[i + 8]), "+f"(d[i + 9]), "+f"(d[i + 10]), "+f"(d[i + 11]), "+f"(d[i + 12]), \
      "+f"(d[i + 13]), "+f"(d[i + 14]), "+f"(d[i + 15])
#define VITRUM_OPERANDS "l"(a), "l"(b), "r"((int)accumulate), "n"((int)a_transposed), "n"((int)b_transposed)
#define VITRUM_NAMES_64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31"
#define VITRUM_GROUP_MULTIPLY_64 \
  asm volatile( \
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %34, 0;\n\twgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " \
      "{" VITRUM_NAMES_64 "}, %32, %33, p, 1, 1, %35, %36;\n\t}" \
      : VITRUM_SUMS(0), VITRUM_SUMS(16) \
      : VITRUM_OPERANDS)
#define VITRUM_NAMES_128 \
  VITRUM_NAMES_64 \
      ", " \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, " \
      "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define VITRUM_GROUP_MULTIPLY_128 \
  asm volatile( \
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %66, 0;\n\twgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " \
      "{" VITRUM_NAMES_128 "}, %64, %65, p, 1, 1, %67, %68;\n\t}" \
      : VITRUM_SUMS(0), VITRUM_SUMS(16), VITRUM_SUMS(32), VITRUM_SUMS(48) \
      : VITRUM_OPERANDS)
#define VITRUM_NAMES_192 \
  VITRUM_NAMES_128 \
      ", " \
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, " \
      "%85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define VITRUM_GROUP_MULTIPLY_192 \
  asm volatile( \
      "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %98, 0;\n\twgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 " \
      "{" VITRUM_NAMES_192 "}, %96, %97, p, 1, 1, %99, %100;\n\t}" \
      : VITRUM_SUMS(0), VITRUM_SUMS(16), VITRUM_SUMS(32), VITRUM_SUMS(48), VITRUM_SUMS(64), VITRUM_SUMS(80) \
      : VITRUM_OPERANDS)
#endif

// Without `accumulate`, d is overwritten.
template <bool a_transposed, bool b_transposed>
__device__ __forceinline__ void group_multiply(float (&d)[32], unsigned long long a, unsigned long long b,
                                               bool accumulate) {
  VITRUM_GROUP_MULTIPLY(64);
}
template <bool a_transposed, bool b_transposed>
__device__ __forceinline__ void group_multiply(float (&d)[64], unsigned long long a, unsigned long long b,
                                               bool accumulate) {
  VITRUM_GROUP_MULTIPLY(128);
}
template <bool a_transposed, bool b_transposed>
__device__ __forceinline__ void group_multiply(float (&d)[96], unsigned long long a, unsigned long long b,
                                               bool accumulate) {
  VITRUM_GROUP_MULTIPLY(192);
}
#ifndef VITRUM_EMULATOR
#undef VITRUM_SUMS
#undef VITRUM_OPERANDS
#undef VITRUM_NAMES_64
#undef VITRUM_NAMES_128
#undef VITRUM_NAMES_192
#undef VITRUM_GROUP_MULTIPLY_64
#undef VITRUM_GROUP_MULTIPLY_128
#undef VITRUM_GROUP_MULTIPLY_192
#endif
#undef VITRUM_GROUP_MULTIPLY
