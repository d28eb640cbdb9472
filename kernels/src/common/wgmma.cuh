// Products of a warpgroup (wgmma), for sm_90a: bf16 operands, float32 sums. Kernels include ptx90.cuh.
//
// d [64, N] += a [64, 16] b [16, N], N a multiple of 16 up to 256. Register i of thread t of the warpgroup is in row
// 16 (t / 32) + t % 32 / 4 + 8 (i / 2 % 2), column 8 (i / 4) + 2 (t % 4) + i % 2. Products are started, closed as a
// group and waited for; until then neither their operands are written nor d is touched. group_fence comes before the
// first product and after every other use of d, and of operands in registers.
#pragma once
#include "ptx.cuh"

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
