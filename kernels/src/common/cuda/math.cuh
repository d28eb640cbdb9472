// Activations with their derivatives.
#pragma once

struct Both {
  float value, slope;
};

// x Phi(x), Phi the standard normal distribution function, and Phi(x) + x phi(x). erfcf keeps the digits of the tail.
__device__ __forceinline__ Both gelu_both(float x) {
  float phi = 0.5f * erfcf(-0.70710678f * x);
  float density = 0.39894228f * expf(-0.5f * x * x);
  // Far out the density is 0 and x may be infinite: their product has the limit 0.
  float slope = density > 0.0f ? fmaf(x, density, phi) : phi;
  // The same for the value on the left: 0, not -inf times 0.
  float value = phi > 0.0f || isnan(x) ? x * phi : -0.0f;
  return {value, isnan(x) ? x : slope};
}

// The derivative is 0 at 0. NaN stays NaN.
__device__ __forceinline__ Both relu_both(float x) { return {x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : 0.0f}; }

// Numbers of kernels/src/common/cuda.rs.
enum Activation { none = 0, relu = 1, gelu = 2 };

__device__ __forceinline__ Both activated(int activation, float x) {
  if (activation == relu) return relu_both(x);
  if (activation == gelu) return gelu_both(x);
  return {x, 1.0f};
}
