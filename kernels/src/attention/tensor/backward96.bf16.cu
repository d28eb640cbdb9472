// The gradient of attention in bf16 on tensor cores, heads of 96 features: attention_backward.cuh.
#define HEAD_WIDTH 96
#include "attention_backward.cuh"
