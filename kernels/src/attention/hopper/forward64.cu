// out = softmax(q k' scale) v in bf16 on sm_90a, heads of 64 features: attention_forward90.cuh.
#define HEAD_WIDTH 64
#include "ptx90.cuh"
#include "attention_forward90.cuh"
