// Layer normalisation, any width, sums over a row through workgroup memory: layer_norm_forward.wgsl tells the rest.
#include "lanes.wgsl"
#include "layer_norm_forward.wgsl"
