// The gradient of attention in bf16 on tensor cores, heads of 32 features: attention_backward.cuh.
#define HEAD_WIDTH 32
#include "attention_backward.cuh"
