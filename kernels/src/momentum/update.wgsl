// v = mu v + g / mean|g| per sample; mu v where the mean is 0 or not finite.
//
// Mapping: one workgroup of 64 per sample, lane l handles elements l, l + 64, ...; lanes are added as reduce.wgsl says.
// Bytes: 12 read, 4 written per element. The sum is of g / max|g|, so that tiny gradients do not vanish in it.
// Tolerance: the mean within a unit in the last place per element of a lane.
#include "index.wgsl"
#include "math.wgsl"
#include "reduce.wgsl"
#include "scale.wgsl"

struct Params {
    samples: u32,
    width: u32, // elements of a sample
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> v: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> mu: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let sample = flat_group(group, groups);
    if sample >= p.samples { // the whole workgroup
        return;
    }
    let start = sample * p.width;
    let end = start + p.width;
    var most = 0.0;
    for (var i = start + lane; i < end; i += 64u) {
        most = larger(most, abs(g[i]));
    }
    let scale = scale_of(reduce_max(lane, most));
    var sum = 0.0;
    for (var i = start + lane; i < end; i += 64u) {
        sum += abs(g[i] * scale.x * scale.y);
    }
    let mean = reduce_sum(lane, sum) / f32(p.width);
    let moves = mean > 0.0 && is_finite(mean);
    for (var i = start + lane; i < end; i += 64u) {
        v[i] = mu[0] * v[i] + select(0.0, g[i] * scale.x * scale.y / mean, moves);
    }
}
