// The gradient of attention in bf16 on tensor cores, heads of 80 features: attention_backward.cuh.
#define HEAD_WIDTH 80
#include "attention_backward.cuh"
