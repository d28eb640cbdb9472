// out = softmax(q k' scale) v in bf16 on sm_90a, heads of 32 features: attention_forward90.cuh.
#define HEAD_WIDTH 32
#include "ptx90.cuh"
#include "attention_forward90.cuh"
