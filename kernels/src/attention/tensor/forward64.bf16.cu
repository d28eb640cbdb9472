// out = softmax(q k' scale) v in bf16 on tensor cores, heads of 64 features: attention_forward.cuh.
#define HEAD_WIDTH 64
#include "attention_forward.cuh"
