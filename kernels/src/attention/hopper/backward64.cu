// The gradient of attention in bf16 on sm_90a, heads of 64 features: attention_backward90.cuh.
#define HEAD_WIDTH 64
#include "ptx90.cuh"
#include "attention_backward90.cuh"
