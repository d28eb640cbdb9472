// y = sum(w v) / sum(w), or sum(w v).
//
// Mapping: one workgroup of 64. Bytes per element: 8 read. Order: lane l sums elements l, l + 64, ... in order, then the lanes
// are added as reduce.wgsl says. Tolerance: relative error of elements / 64 + 8 roundings of sum(|w v|) at the most.
#include "reduce.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> v: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

override MEAN: bool = true;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    var weights = 0.0;
    for (var i = lane; i < p.count; i += 64u) {
        sum = fma(w[i], v[i], sum);
        weights += w[i];
    }
    sum = reduce_sum(lane, sum);
    if MEAN {
        sum = sum / reduce_sum(lane, weights);
    }
    if lane == 0u {
        y[0] = sum;
    }
}
