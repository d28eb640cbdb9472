// out = softmax(q k' scale) v in bf16 on tensor cores, heads of 16 features: attention_forward.cuh.
#define HEAD_WIDTH 16
#include "attention_forward.cuh"
