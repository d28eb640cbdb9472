// out = softmax(q k' scale) v in bf16 on tensor cores, heads of 96 features: attention_forward.cuh.
#define HEAD_WIDTH 96
#include "attention_forward.cuh"
