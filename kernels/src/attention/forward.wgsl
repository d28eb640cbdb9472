// Attention through workgroup memory, any head width: attention_forward.wgsl tells the rest.
#include "attention.wgsl"
#include "attention_ones.wgsl"
#include "attention_forward.wgsl"
