// What a kernel sees when it is compiled as ordinary C++: CUDA's keywords, built-in variables, vector types, warp
// functions and atomics. nvrtc.cpp puts this in front of every source, then rewrites __global__ and __shared__ (see
// rewrite.hpp). It includes no system header, as NVRTC has none.
#pragma once
#include "calls.hpp"
#include "facts.hpp"

#define VITRUM_EMULATOR 1

// Device functions are inlined, as nvcc does: the facts of a shared array (below) are then found in its kernel's code.
#define __device__ __attribute__((always_inline))
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __constant__ __attribute__((visibility("default"), used))

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;

#define EMULATOR_INLINE static inline __attribute__((always_inline))

// Built-in variables.
struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
#define EMULATOR_COORDINATES(name) \
  (uint3{emulator::coordinate(emulator::name##_x), emulator::coordinate(emulator::name##_y), \
         emulator::coordinate(emulator::name##_z)})
#define threadIdx EMULATOR_COORDINATES(thread)
#define blockIdx EMULATOR_COORDINATES(block)
#define blockDim EMULATOR_COORDINATES(block_dim)
#define gridDim EMULATOR_COORDINATES(grid_dim)
#define warpSize 32

// Vector types, aligned as on the device: the compiler then checks every access through them.
#define EMULATOR_VECTORS(type, name, align2, align4) \
  struct name##1 { type x; }; \
  struct __attribute__((aligned(align2))) name##2 { type x, y; }; \
  struct name##3 { type x, y, z; }; \
  struct __attribute__((aligned(align4))) name##4 { type x, y, z, w; }; \
  EMULATOR_INLINE name##2 make_##name##2(type x, type y) { return {x, y}; } \
  EMULATOR_INLINE name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  EMULATOR_INLINE name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
struct __attribute__((aligned(8))) uint2 {
  unsigned x, y;
};
struct __attribute__((aligned(16))) uint4 {
  unsigned x, y, z, w;
};
EMULATOR_INLINE uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
EMULATOR_INLINE uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
EMULATOR_INLINE uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
EMULATOR_VECTORS(float, float, 8, 16)
EMULATOR_VECTORS(int, int, 8, 16)
EMULATOR_VECTORS(short, short, 4, 8)
EMULATOR_VECTORS(unsigned short, ushort, 4, 8)
EMULATOR_VECTORS(unsigned char, uchar, 2, 4)
EMULATOR_VECTORS(double, double, 16, 16)

// States a fact about the kernel into which this code is inlined.
#define EMULATOR_FACT(id, bytes, align) \
  asm volatile( \
      "77777:\n\t.pushsection emulator_facts,\"a\"\n\t.balign 8\n\t.long 77777b - .\n\t.long %c0\n\t.quad %c1\n\t" \
      ".quad %c2\n\t.popsection" ::"i"(id), \
      "i"(bytes), "i"(align))

namespace emulator {
template <int id, class Type, unsigned long align = alignof(Type)>
__device__ inline Type& shared_array() {
  EMULATOR_FACT(id, sizeof(Type), align);
  return *static_cast<Type*>(shared_at(id, sizeof(Type)));
}
template <class Type, unsigned long align = alignof(Type)>
__device__ inline Type* dynamic_array() {
  EMULATOR_FACT(emulator_dynamic_shared, 0, align);
  return static_cast<Type*>(dynamic_shared());
}
template <int bound>
__device__ inline void launch_bound() {
  EMULATOR_FACT(emulator_launch_bound, bound, 1);
}
template <unsigned x, unsigned y = 1, unsigned z = 1>
__device__ inline void cluster_dims() {
  EMULATOR_FACT(emulator_cluster, x | y << 8 | z << 16, 1);
}
constexpr int first_of(int first, int = 0, int = 0) { return first; }
}  // namespace emulator

#define __cvta_generic_to_shared(pointer) static_cast<size_t>(emulator::shared_address(pointer))

// Barriers and fences. Fibers take turns only where they wait: a fence has nothing to do but to say that it was thought
// of.
#define __syncthreads() emulator::barrier_sync(0, 0)
#define __syncthreads_count(predicate) emulator::barrier_tally(emulator::Tally::count, predicate)
#define __syncthreads_and(predicate) emulator::barrier_tally(emulator::Tally::all, predicate)
#define __syncthreads_or(predicate) emulator::barrier_tally(emulator::Tally::any, predicate)
EMULATOR_INLINE void __syncwarp(unsigned mask = ~0u) { emulator::warp_sync(mask); }
EMULATOR_INLINE void __threadfence() { emulator::thread_fence(); }
EMULATOR_INLINE void __threadfence_block() {}
EMULATOR_INLINE void __threadfence_system() { emulator::thread_fence(); }
EMULATOR_INLINE void __trap() { emulator::trap("__trap()"); }
#define assert(condition) ((condition) ? void() : emulator::trap("assertion failed: " #condition))

// Warp functions. Values of 4 and 8 bytes travel as bits.
template <class Type>
EMULATOR_INLINE Type emulator_shuffle(emulator::Shuffle kind, unsigned mask, Type value, int argument, int width) {
  static_assert(sizeof(Type) == 4 || sizeof(Type) == 8, "shuffles move 4 or 8 bytes");
  unsigned long long bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(Type));
  bits = emulator::shuffle(kind, mask, bits, argument, width);
  __builtin_memcpy(&value, &bits, sizeof(Type));
  return value;
}
#define EMULATOR_SHUFFLE(name, kind, type_of_argument) \
  template <class Type> \
  EMULATOR_INLINE Type name(unsigned mask, Type value, type_of_argument argument, int width = 32) { \
    return emulator_shuffle(emulator::Shuffle::kind, mask, value, static_cast<int>(argument), width); \
  }
EMULATOR_SHUFFLE(__shfl_sync, index, int)
EMULATOR_SHUFFLE(__shfl_up_sync, up, unsigned)
EMULATOR_SHUFFLE(__shfl_down_sync, down, unsigned)
EMULATOR_SHUFFLE(__shfl_xor_sync, exclusive_or, int)
EMULATOR_INLINE unsigned __ballot_sync(unsigned mask, int predicate) {
  return emulator::vote(emulator::Vote::ballot, mask, predicate);
}
EMULATOR_INLINE int __all_sync(unsigned mask, int predicate) {
  return emulator::vote(emulator::Vote::all, mask, predicate);
}
EMULATOR_INLINE int __any_sync(unsigned mask, int predicate) {
  return emulator::vote(emulator::Vote::any, mask, predicate);
}
#define EMULATOR_REDUCE(name, type, kind) \
  EMULATOR_INLINE type name(unsigned mask, type value) { \
    return static_cast<type>(emulator::reduce(emulator::Reduce::kind, mask, static_cast<unsigned>(value))); \
  }
EMULATOR_REDUCE(__reduce_add_sync, unsigned, add)
EMULATOR_REDUCE(__reduce_add_sync, int, add)
EMULATOR_REDUCE(__reduce_min_sync, unsigned, min_unsigned)
EMULATOR_REDUCE(__reduce_min_sync, int, min_signed)
EMULATOR_REDUCE(__reduce_max_sync, unsigned, max_unsigned)
EMULATOR_REDUCE(__reduce_max_sync, int, max_signed)
EMULATOR_REDUCE(__reduce_and_sync, unsigned, bit_and)
EMULATOR_REDUCE(__reduce_or_sync, unsigned, bit_or)
EMULATOR_REDUCE(__reduce_xor_sync, unsigned, bit_xor)

// Atomics.
template <class Type>
EMULATOR_INLINE Type emulator_atomic(emulator::Atomic kind, Type* pointer, Type value, Type compare = Type()) {
  unsigned long long bits = 0, other = 0;
  __builtin_memcpy(&bits, &value, sizeof(Type));
  __builtin_memcpy(&other, &compare, sizeof(Type));
  bits = emulator::atomic(kind, pointer, sizeof(Type), bits, other);
  __builtin_memcpy(&value, &bits, sizeof(Type));
  return value;
}
#define EMULATOR_ATOMIC(name, type, kind) \
  EMULATOR_INLINE type name(type* pointer, type value) { \
    return emulator_atomic(emulator::Atomic::kind, pointer, value); \
  }
EMULATOR_ATOMIC(atomicAdd, int, add)
EMULATOR_ATOMIC(atomicAdd, unsigned, add)
EMULATOR_ATOMIC(atomicAdd, unsigned long long, add)
EMULATOR_ATOMIC(atomicAdd, float, add_float)
EMULATOR_ATOMIC(atomicAdd, double, add_double)
EMULATOR_ATOMIC(atomicExch, int, exchange)
EMULATOR_ATOMIC(atomicExch, unsigned, exchange)
EMULATOR_ATOMIC(atomicExch, float, exchange)
EMULATOR_ATOMIC(atomicExch, unsigned long long, exchange)
EMULATOR_ATOMIC(atomicMin, int, min_signed)
EMULATOR_ATOMIC(atomicMin, unsigned, min_unsigned)
EMULATOR_ATOMIC(atomicMax, int, max_signed)
EMULATOR_ATOMIC(atomicMax, unsigned, max_unsigned)
EMULATOR_ATOMIC(atomicMax, unsigned long long, max_unsigned)
EMULATOR_ATOMIC(atomicAnd, unsigned, bit_and)
EMULATOR_ATOMIC(atomicAnd, int, bit_and)
EMULATOR_ATOMIC(atomicOr, unsigned, bit_or)
EMULATOR_ATOMIC(atomicOr, int, bit_or)
EMULATOR_ATOMIC(atomicXor, unsigned, bit_xor)
EMULATOR_ATOMIC(atomicXor, int, bit_xor)
EMULATOR_INLINE int atomicSub(int* pointer, int value) { return atomicAdd(pointer, -value); }
EMULATOR_INLINE unsigned atomicSub(unsigned* pointer, unsigned value) { return atomicAdd(pointer, 0u - value); }
#define EMULATOR_SWAP(type) \
  EMULATOR_INLINE type atomicCAS(type* pointer, type compare, type value) { \
    return emulator_atomic(emulator::Atomic::compare_and_swap, pointer, value, compare); \
  }
EMULATOR_SWAP(int)
EMULATOR_SWAP(unsigned)
EMULATOR_SWAP(unsigned long long)

// Loads and stores with cache hints.
#define EMULATOR_LOAD(name) \
  template <class Type> \
  EMULATOR_INLINE Type name(const Type* pointer) { \
    return *pointer; \
  }
#define EMULATOR_STORE(name) \
  template <class Type> \
  EMULATOR_INLINE void name(Type* pointer, Type value) { \
    *pointer = value; \
  }
EMULATOR_LOAD(__ldg)
EMULATOR_LOAD(__ldcg)
EMULATOR_LOAD(__ldca)
EMULATOR_LOAD(__ldcs)
EMULATOR_STORE(__stcg)
EMULATOR_STORE(__stcs)
EMULATOR_STORE(__stwt)

#include "device_math.hpp"
