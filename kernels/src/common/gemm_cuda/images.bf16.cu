// The products of tensor.bf16.cu whose A or B lies in an image as its patches: y = patches W' and dW = dy' patches. Kernels of
// their own, for finding an element there takes divisions.
#include "tensor.cuh"

#define PRODUCTS(name, across, along) \
  extern "C" __global__ void __launch_bounds__(128) name##64(const Product p) { \
    product<true, across, along, 64, 64, 2, 2>(p, InMemory<true>()); \
  } \
  extern "C" __global__ void __launch_bounds__(256, 1) name##128(const Product p) { \
    product<true, across, along, 128, 128, 2, 4>(p, InMemory<true>()); \
  } \
  extern "C" __global__ void __launch_bounds__(256, 1) name##192(const Product p) { \
    product<true, across, along, 128, 192, 2, 4>(p, InMemory<true>()); \
  }
PRODUCTS(nt, false, true)
PRODUCTS(tn, true, false)
