// The gradient of attention through workgroup memory, head widths that are multiples of 4; see attention_backward.wgsl.
#include "attention.wgsl"
#include "attention_fours.wgsl"
#include "attention_backward.wgsl"
