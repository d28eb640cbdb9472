// out = softmax(q k' scale) v in bf16 on tensor cores, heads of 48 features: attention_forward.cuh.
#define HEAD_WIDTH 48
#include "attention_forward.cuh"
