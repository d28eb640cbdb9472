// Layer normalisation, widths that are multiples of 4, sums over a row by shuffles: layer_norm_forward.wgsl tells the rest.
#include "lanes.subgroup.wgsl"
#include "layer_norm_forward.wgsl"
