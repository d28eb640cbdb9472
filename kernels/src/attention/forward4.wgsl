// Attention through workgroup memory, head widths that are multiples of 4: attention_forward.wgsl tells the rest.
#include "attention.wgsl"
#include "attention_fours.wgsl"
#include "attention_forward.wgsl"
