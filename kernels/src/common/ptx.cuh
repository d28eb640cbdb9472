// All inline PTX of the project, as functions. Kernels hold none of their own.
//
// Each function has two halves: PTX for the device, and a call of the emulator (tests/cuda_emulator), which compiles
// kernels as C++ and defines VITRUM_EMULATOR. So a kernel's text is the same on both. What sm_90 adds (mbarrier, TMA,
// wgmma) is in ptx90.cuh and wgmma.cuh beside this file.
//
// Header-free: NVRTC has none to offer. 16-bit floats travel as bits: `unsigned short`, or two in an `unsigned`, the
// lower index in the low half. Layouts of fragments are the PTX manual's; lane l = 4 g + t.
#pragma once

// An address in shared memory as PTX wants it: 32 bits.
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return (unsigned)__cvta_generic_to_shared(pointer);
}

// ---- Copies from global to shared memory (sm_80) ----
// A thread issues copies, closes a group with commit, and waits until at most `groups` of its newest groups are under
// way. The data are then its own; other threads need a barrier as well. Both addresses are multiples of the size.

// 16 bytes, through L2 only.
__device__ __forceinline__ void copy_async_16(void* shared, const void* global) {
#ifdef VITRUM_EMULATOR
  emulator::copy_async(shared, global, 16, 16);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
#endif
}

// 16 bytes if `whole`, else 16 zeros, and nothing is read.
__device__ __forceinline__ void copy_async_16_or_zero(void* shared, const void* global, bool whole) {
  int bytes = whole ? 16 : 0;
#ifdef VITRUM_EMULATOR
  emulator::copy_async(shared, global, 16, bytes);
#else
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
#endif
}

// 8 bytes.
__device__ __forceinline__ void copy_async_8(void* shared, const void* global) {
#ifdef VITRUM_EMULATOR
  emulator::copy_async(shared, global, 8, 8);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(shared_address(shared)), "l"(global) : "memory");
#endif
}

// 8 bytes if `whole`, else zeros.
__device__ __forceinline__ void copy_async_8_or_zero(void* shared, const void* global, bool whole) {
  int bytes = whole ? 8 : 0;
#ifdef VITRUM_EMULATOR
  emulator::copy_async(shared, global, 8, bytes);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
#endif
}

// 4 bytes if `whole`, else zeros.
__device__ __forceinline__ void copy_async_4_or_zero(void* shared, const void* global, bool whole) {
  int bytes = whole ? 4 : 0;
#ifdef VITRUM_EMULATOR
  emulator::copy_async(shared, global, 4, bytes);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
#endif
}

__device__ __forceinline__ void copy_async_commit() {
#ifdef VITRUM_EMULATOR
  emulator::copy_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int groups>
__device__ __forceinline__ void copy_async_wait() {
#ifdef VITRUM_EMULATOR
  emulator::copy_wait(groups);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#endif
}

// All copies, committed or not.
__device__ __forceinline__ void copy_async_wait_all() {
#ifdef VITRUM_EMULATOR
  emulator::copy_wait(-1);
#else
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// ---- Matrices of 8 x 8 halfwords from shared memory to registers (sm_75) ----
// Lanes 8 m to 8 m + 7 give the addresses of the rows of matrix m, 16 bytes each. Lane l receives elements (g, 2 t) and
// (g, 2 t + 1) of each matrix; transposed, (2 t, g) and (2 t + 1, g). All lanes of the warp call.

#ifdef VITRUM_EMULATOR
#define VITRUM_LOAD_MATRIX(count, transposed, ...) emulator::load_matrix(out, row, count, transposed)
#else
#define VITRUM_LOAD_MATRIX(count, transposed, ...) asm volatile(__VA_ARGS__)
#endif

__device__ __forceinline__ void load_matrix_x1(unsigned (&out)[1], const void* row) {
  VITRUM_LOAD_MATRIX(1, false, "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                     : "=r"(out[0])
                     : "r"(shared_address(row))
                     : "memory");
}
__device__ __forceinline__ void load_matrix_x2(unsigned (&out)[2], const void* row) {
  VITRUM_LOAD_MATRIX(2, false, "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(out[0]), "=r"(out[1])
                     : "r"(shared_address(row))
                     : "memory");
}
__device__ __forceinline__ void load_matrix_x4(unsigned (&out)[4], const void* row) {
  VITRUM_LOAD_MATRIX(4, false, "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                     : "r"(shared_address(row))
                     : "memory");
}
__device__ __forceinline__ void load_matrix_x1_transposed(unsigned (&out)[1], const void* row) {
  VITRUM_LOAD_MATRIX(1, true, "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                     : "=r"(out[0])
                     : "r"(shared_address(row))
                     : "memory");
}
__device__ __forceinline__ void load_matrix_x2_transposed(unsigned (&out)[2], const void* row) {
  VITRUM_LOAD_MATRIX(2, true, "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(out[0]), "=r"(out[1])
                     : "r"(shared_address(row))
                     : "memory");
}
__device__ __forceinline__ void load_matrix_x4_transposed(unsigned (&out)[4], const void* row) {
  VITRUM_LOAD_MATRIX(4, true, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                     : "r"(shared_address(row))
                     : "memory");
}
#undef VITRUM_LOAD_MATRIX

// ---- Tensor cores: d += a * b, float32 sums (sm_80) ----
// a is [16, k] in rows, b [k, 8] in columns, d [16, 8]. Element i of d: row g + 8 (i / 2), column 2 t + i % 2.
// All lanes of the warp call.

#ifdef VITRUM_EMULATOR
#define VITRUM_MULTIPLY(kind, instruction) emulator::multiply_matrix(emulator::Product::kind, d, a, b, d)
#else
#define VITRUM_MULTIPLY(kind, instruction) \
  asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#endif

// k = 16. a[i]: row g + 8 (i % 2), columns 2 t + 8 (i / 2) and the next; b[i]: rows 2 t + 8 i and the next, column g.
__device__ __forceinline__ void multiply_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  VITRUM_MULTIPLY(bf16_m16n8k16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32");
}
__device__ __forceinline__ void multiply_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  VITRUM_MULTIPLY(f16_m16n8k16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32");
}
// k = 8, operands from round_to_tf32. a[i]: row g + 8 (i % 2), column t + 4 (i / 2); b[i]: row t + 4 i, column g.
__device__ __forceinline__ void multiply_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  VITRUM_MULTIPLY(tf32_m16n8k8, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32");
}
#undef VITRUM_MULTIPLY

// ---- Conversions ----
#ifdef VITRUM_EMULATOR
// To nearest, ties to even; NaN becomes 0x7fff, as on the device.
__device__ __forceinline__ unsigned short emulated_bf16(float x) {
  unsigned bits = __float_as_uint(x);
  if (isnan(x)) return 0x7fff;
  return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
// The same for half precision: `x` times 2^-k, rounded to an integer, gives the bits directly.
__device__ __forceinline__ unsigned short emulated_f16(float x) {
  unsigned sign = __float_as_uint(x) >> 16 & 0x8000;
  float size = fabsf(x);
  if (isnan(x)) return 0x7fff;
  if (size >= 65520.0f) return (unsigned short)(sign | 0x7c00);
  int exponent = (int)(__float_as_uint(size) >> 23) - 127;
  if (exponent < -14) exponent = -14;
  // In units of the last place of this exponent; a carry moves into the exponent by itself.
  unsigned steps = (unsigned)rintf(ldexpf(size, 10 - exponent));
  return (unsigned short)(sign | (((unsigned)(exponent + 14) << 10) + steps));
}
#endif

__device__ __forceinline__ float float_of_bf16(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }

__device__ __forceinline__ unsigned short bf16_of_float(float x) {
#ifdef VITRUM_EMULATOR
  return emulated_bf16(x);
#else
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#endif
}

// Two at once: `low` in the low half.
__device__ __forceinline__ unsigned bf16_pair(float low, float high) {
#ifdef VITRUM_EMULATOR
  return (unsigned)emulated_bf16(high) << 16 | emulated_bf16(low);
#else
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
#endif
}

__device__ __forceinline__ unsigned short f16_of_float(float x) {
#ifdef VITRUM_EMULATOR
  return emulated_f16(x);
#else
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#endif
}

__device__ __forceinline__ float float_of_f16(unsigned short bits) {
#ifdef VITRUM_EMULATOR
  unsigned sign = (unsigned)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) return copysignf(ldexpf((float)mantissa, -24), __uint_as_float(sign));
  return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
#else
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
#endif
}

// To nearest, ties away from zero: 10 bits of mantissa.
__device__ __forceinline__ unsigned round_to_tf32(float x) {
#ifdef VITRUM_EMULATOR
  return isfinite(x) ? (__float_as_uint(x) + 0x1000) & ~0x1fffu : __float_as_uint(x);
#else
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
#endif
}

// ---- Approximations of the special function unit ----
// Within a few units in the last place; the emulator's are libm's. Results below 2^-126 become 0.

__device__ __forceinline__ float exp2_approx(float x) {
#ifdef VITRUM_EMULATOR
  return exp2f(x);
#else
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

__device__ __forceinline__ float log2_approx(float x) {
#ifdef VITRUM_EMULATOR
  return log2f(x);
#else
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

__device__ __forceinline__ float reciprocal_approx(float x) {
#ifdef VITRUM_EMULATOR
  return 1.0f / x;
#else
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

__device__ __forceinline__ float rsqrt_approx(float x) {
#ifdef VITRUM_EMULATOR
  return rsqrtf(x);
#else
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#endif
}

// ---- Named barriers ----
// Numbers 1 to 15 (0 is __syncthreads). `threads` is a multiple of 32 and counts those who sync and those who only
// arrive.

__device__ __forceinline__ void barrier_sync(int number, int threads) {
#ifdef VITRUM_EMULATOR
  emulator::barrier_sync(number, threads);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
#endif
}

__device__ __forceinline__ void barrier_arrive(int number, int threads) {
#ifdef VITRUM_EMULATOR
  emulator::barrier_arrive(number, threads);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
#endif
}
