// out = softmax(q k' scale) v in bf16 on tensor cores, heads of 80 features: attention_forward.cuh.
#define HEAD_WIDTH 80
#include "attention_forward.cuh"
