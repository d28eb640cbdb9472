// The gradient of attention in bf16 on tensor cores, heads of 16 features: attention_backward.cuh.
#define HEAD_WIDTH 16
#include "attention_backward.cuh"
