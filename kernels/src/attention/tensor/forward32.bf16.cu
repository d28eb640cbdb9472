// out = softmax(q k' scale) v in bf16 on tensor cores, heads of 32 features: attention_forward.cuh.
#define HEAD_WIDTH 32
#include "attention_forward.cuh"
