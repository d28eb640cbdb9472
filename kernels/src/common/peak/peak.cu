// A GPU's ceilings: multiply-adds in registers, and copies of vectors of four.
//
// `multiply`: 16 independent chains of fused multiply-adds per thread, `rounds` times; the sum is written so that none is
// left out. `copy`: one thread per 16 bytes.

extern "C" __global__ void multiply(const float* from, float* to, unsigned rounds) {
  size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
  float factor = from[i], chains[16];
#pragma unroll
  for (int k = 0; k < 16; k++) chains[k] = factor + (float)k;
  for (unsigned round = 0; round < rounds; round++)
#pragma unroll
    for (int k = 0; k < 16; k++) chains[k] = fmaf(chains[k], factor, 0.5f);
  float sum = 0.0f;
#pragma unroll
  for (int k = 0; k < 16; k++) sum += chains[k];
  to[i] = sum;
}

extern "C" __global__ void copy(const float4* from, float4* to) {
  size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
  to[i] = from[i];
}
