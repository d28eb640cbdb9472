// The gradients of layer normalisation, any width, sums over a row through workgroup memory: layer_norm_backward.wgsl tells the rest.
#include "lanes.wgsl"
#include "layer_norm_backward.wgsl"
