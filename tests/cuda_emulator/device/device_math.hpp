// Arithmetic that CUDA C++ has built in: libm's functions, integer functions, conversions, and the intrinsics with a
// fixed rounding.
#pragma once

// Not <math.h>: the C library declares names of its own there that CUDA uses too (__expf).
extern "C" {
#define EMULATOR_LIBM(name) \
  double name(double) noexcept; \
  float name##f(float) noexcept
EMULATOR_LIBM(exp);
EMULATOR_LIBM(exp2);
EMULATOR_LIBM(expm1);
EMULATOR_LIBM(log);
EMULATOR_LIBM(log2);
EMULATOR_LIBM(log10);
EMULATOR_LIBM(log1p);
EMULATOR_LIBM(sqrt);
EMULATOR_LIBM(cbrt);
EMULATOR_LIBM(sin);
EMULATOR_LIBM(cos);
EMULATOR_LIBM(tan);
EMULATOR_LIBM(asin);
EMULATOR_LIBM(acos);
EMULATOR_LIBM(atan);
EMULATOR_LIBM(sinh);
EMULATOR_LIBM(cosh);
EMULATOR_LIBM(tanh);
EMULATOR_LIBM(erf);
EMULATOR_LIBM(erfc);
EMULATOR_LIBM(floor);
EMULATOR_LIBM(ceil);
EMULATOR_LIBM(trunc);
EMULATOR_LIBM(round);
EMULATOR_LIBM(rint);
EMULATOR_LIBM(nearbyint);
EMULATOR_LIBM(fabs);
#undef EMULATOR_LIBM
#define EMULATOR_LIBM(name) \
  double name(double, double) noexcept; \
  float name##f(float, float) noexcept
EMULATOR_LIBM(pow);
EMULATOR_LIBM(fmod);
EMULATOR_LIBM(fmin);
EMULATOR_LIBM(fmax);
EMULATOR_LIBM(copysign);
EMULATOR_LIBM(atan2);
EMULATOR_LIBM(hypot);
#undef EMULATOR_LIBM
double fma(double, double, double) noexcept;
float fmaf(float, float, float) noexcept;
double ldexp(double, int) noexcept;
float ldexpf(float, int) noexcept;
int abs(int) noexcept;
}

// C++ overloads that CUDA has for float.
EMULATOR_INLINE float exp(float x) { return expf(x); }
EMULATOR_INLINE float log(float x) { return logf(x); }
EMULATOR_INLINE float sqrt(float x) { return sqrtf(x); }
EMULATOR_INLINE float fabs(float x) { return fabsf(x); }
EMULATOR_INLINE float floor(float x) { return floorf(x); }
EMULATOR_INLINE float ceil(float x) { return ceilf(x); }
EMULATOR_INLINE float tanh(float x) { return tanhf(x); }
EMULATOR_INLINE float pow(float x, float y) { return powf(x, y); }
EMULATOR_INLINE float abs(float x) { return fabsf(x); }
EMULATOR_INLINE bool isnan(float x) { return __builtin_isnan(x); }
EMULATOR_INLINE bool isinf(float x) { return __builtin_isinf(x); }
EMULATOR_INLINE bool isfinite(float x) { return __builtin_isfinite(x); }
EMULATOR_INLINE bool isnan(double x) { return __builtin_isnan(x); }
EMULATOR_INLINE bool isfinite(double x) { return __builtin_isfinite(x); }
#define EMULATOR_ORDER(type) \
  EMULATOR_INLINE type min(type a, type b) { return b < a ? b : a; } \
  EMULATOR_INLINE type max(type a, type b) { return a < b ? b : a; }
EMULATOR_ORDER(int)
EMULATOR_ORDER(unsigned)
EMULATOR_ORDER(long)
EMULATOR_ORDER(unsigned long)
EMULATOR_ORDER(long long)
EMULATOR_ORDER(unsigned long long)
#undef EMULATOR_ORDER
EMULATOR_INLINE unsigned min(int a, unsigned b) { return min(static_cast<unsigned>(a), b); }
EMULATOR_INLINE unsigned min(unsigned a, int b) { return min(a, static_cast<unsigned>(b)); }
EMULATOR_INLINE unsigned max(int a, unsigned b) { return max(static_cast<unsigned>(a), b); }
EMULATOR_INLINE unsigned max(unsigned a, int b) { return max(a, static_cast<unsigned>(b)); }
EMULATOR_INLINE float min(float a, float b) { return fminf(a, b); }
EMULATOR_INLINE float max(float a, float b) { return fmaxf(a, b); }
EMULATOR_INLINE double min(double a, double b) { return fmin(a, b); }
EMULATOR_INLINE double max(double a, double b) { return fmax(a, b); }

// Bits.
template <class To, class From>
EMULATOR_INLINE To emulator_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}
EMULATOR_INLINE float __int_as_float(int x) { return emulator_bits<float>(x); }
EMULATOR_INLINE int __float_as_int(float x) { return emulator_bits<int>(x); }
EMULATOR_INLINE float __uint_as_float(unsigned x) { return emulator_bits<float>(x); }
EMULATOR_INLINE unsigned __float_as_uint(float x) { return emulator_bits<unsigned>(x); }
EMULATOR_INLINE double __longlong_as_double(long long x) { return emulator_bits<double>(x); }
EMULATOR_INLINE long long __double_as_longlong(double x) { return emulator_bits<long long>(x); }
EMULATOR_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
EMULATOR_INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
EMULATOR_INLINE int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
EMULATOR_INLINE int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
EMULATOR_INLINE int __ffs(int x) { return __builtin_ffs(x); }
EMULATOR_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }
EMULATOR_INLINE unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; bit++) reversed |= (x >> bit & 1) << (31 - bit);
  return reversed;
}
EMULATOR_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<unsigned long long>(high) << 32 | low) << (shift & 31)) >> 32);
}
EMULATOR_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (shift & 31));
}
EMULATOR_INLINE unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  unsigned long long bytes = static_cast<unsigned long long>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; i++)
    result |= static_cast<unsigned>(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
  return result;
}

// Integer products.
EMULATOR_INLINE int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
EMULATOR_INLINE unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned long long>(a) * b >> 32; }
EMULATOR_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

// One rounding each, never contracted with what follows: the empty assembly hides where the value came from.
EMULATOR_INLINE float emulator_rounded(float x) {
  asm volatile("" : "+m"(x));
  return x;
}
EMULATOR_INLINE float __fadd_rn(float a, float b) { return emulator_rounded(a + b); }
EMULATOR_INLINE float __fsub_rn(float a, float b) { return emulator_rounded(a - b); }
EMULATOR_INLINE float __fmul_rn(float a, float b) { return emulator_rounded(a * b); }
EMULATOR_INLINE float __fdiv_rn(float a, float b) { return a / b; }
EMULATOR_INLINE float __frcp_rn(float a) { return 1.0f / a; }
EMULATOR_INLINE float __fsqrt_rn(float a) { return sqrtf(a); }
EMULATOR_INLINE float __frsqrt_rn(float a) { return static_cast<float>(1.0 / sqrt(static_cast<double>(a))); }
EMULATOR_INLINE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }

// Approximations: the device's are a few units in the last place off, these are libm's.
EMULATOR_INLINE float rsqrtf(float x) { return __frsqrt_rn(x); }
EMULATOR_INLINE float __expf(float x) { return expf(x); }
EMULATOR_INLINE float __exp10f(float x) { return powf(10.0f, x); }
EMULATOR_INLINE float __logf(float x) { return logf(x); }
EMULATOR_INLINE float __log2f(float x) { return log2f(x); }
EMULATOR_INLINE float __sinf(float x) { return sinf(x); }
EMULATOR_INLINE float __cosf(float x) { return cosf(x); }
EMULATOR_INLINE float __powf(float x, float y) { return powf(x, y); }
EMULATOR_INLINE float __fdividef(float a, float b) { return a / b; }
EMULATOR_INLINE float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

// Conversions: out of range gives the nearest integer, NaN gives 0, as on the device.
template <class Integer>
EMULATOR_INLINE Integer emulator_to_integer(float x, Integer least, Integer most) {
  if (isnan(x)) return 0;
  if (x <= static_cast<float>(least)) return least;
  if (x >= static_cast<float>(most)) return most;
  return static_cast<Integer>(x);
}
#define EMULATOR_TO_INTEGER(mode, function) \
  EMULATOR_INLINE int __float2int_##mode(float x) { \
    return emulator_to_integer(function(x), -__INT_MAX__ - 1, __INT_MAX__); \
  } \
  EMULATOR_INLINE unsigned __float2uint_##mode(float x) { return emulator_to_integer(function(x), 0u, ~0u); }
EMULATOR_TO_INTEGER(rn, rintf)
EMULATOR_TO_INTEGER(rz, truncf)
EMULATOR_TO_INTEGER(rd, floorf)
EMULATOR_TO_INTEGER(ru, ceilf)
#undef EMULATOR_TO_INTEGER
EMULATOR_INLINE float __int2float_rn(int x) { return static_cast<float>(x); }
EMULATOR_INLINE float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
EMULATOR_INLINE float __ll2float_rn(long long x) { return static_cast<float>(x); }
EMULATOR_INLINE float __double2float_rn(double x) { return static_cast<float>(x); }
