// The gradient of attention through workgroup memory, any head width: attention_backward.wgsl tells the rest.
#include "attention.wgsl"
#include "attention_ones.wgsl"
#include "attention_backward.wgsl"
