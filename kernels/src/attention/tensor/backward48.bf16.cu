// The gradient of attention in bf16 on tensor cores, heads of 48 features: attention_backward.cuh.
#define HEAD_WIDTH 48
#include "attention_backward.cuh"
