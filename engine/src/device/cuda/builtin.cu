// Ones, zeros, copy, add and multiply: target[i] = 1 | 0 | source[i] | target[i] + source[i] | target[i] * source[i].
//
// Mapping: one thread per element. Bytes: 2 or 4 each, 1 or 2 read (copy; add and multiply), 1 written. Exact, but for one rounding of
// the last two.
// Elements are 4 bytes, or bf16 where `half` says so: then bits move as they are, and 1 is 0x3f80.

extern "C" __global__ void ones(void* target, const void*, size_t count, bool half) {
  size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (half)
    ((unsigned short*)target)[i] = 0x3f80;
  else
    ((float*)target)[i] = 1.0f;
}

extern "C" __global__ void zeros(void* target, const void*, size_t count, bool half) {
  size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (half)
    ((unsigned short*)target)[i] = 0;
  else
    ((unsigned*)target)[i] = 0;
}

extern "C" __global__ void copy(void* target, const void* source, size_t count, bool half) {
  size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (half)
    ((unsigned short*)target)[i] = ((const unsigned short*)source)[i];
  else
    ((unsigned*)target)[i] = ((const unsigned*)source)[i];
}

// The float of bf16 bits, and back: to nearest, ties to even; NaN stays NaN.
__device__ float widened(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }
__device__ unsigned short narrowed(float x) {
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <bool product>
__device__ void combine(void* target, const void* source, size_t count, bool half) {
  size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (half) {
    unsigned short* to = (unsigned short*)target;
    float x = widened(to[i]), y = widened(((const unsigned short*)source)[i]);
    to[i] = narrowed(product ? x * y : x + y);
  } else {
    float *to = (float*)target, y = ((const float*)source)[i];
    to[i] = product ? to[i] * y : to[i] + y;
  }
}

extern "C" __global__ void add(void* target, const void* source, size_t count, bool half) {
  combine<false>(target, source, count, half);
}

extern "C" __global__ void multiply(void* target, const void* source, size_t count, bool half) {
  combine<true>(target, source, count, half);
}
