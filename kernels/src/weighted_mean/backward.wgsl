// dv_i = dy w_i / sum(w), or dy w_i; written or added.
//
// Mapping: one workgroup of 64. Bytes per element: 8 read (4 more where it adds), 4 written. Order of the sum: as forward.
// Tolerance: two roundings and those of the sum.
#include "math.wgsl"
#include "put.wgsl"
#include "reduce.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>; // dv

override MEAN: bool = true;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    var scale = dy[0];
    if MEAN {
        var weights = 0.0;
        for (var i = lane; i < p.count; i += 64u) {
            weights += w[i];
        }
        scale = scale / reduce_sum(lane, weights);
    }
    for (var i = lane; i < p.count; i += 64u) {
        put(i, scale * w[i]);
    }
}
