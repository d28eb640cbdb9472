// The gradient of attention in bf16 on tensor cores, heads of 64 features: attention_backward.cuh.
#define HEAD_WIDTH 64
#include "attention_backward.cuh"
