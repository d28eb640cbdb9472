// distance = s sum_i (a_i - b_i)^2 per sample, s = 1 or 1 / elements.
//
// Mapping: one workgroup of 64 per sample. Bytes: 8 read per element, 4 written per sample. Order: lane l sums elements l,
// l + 64, ... in order, then the lanes are added as reduce.wgsl says. Tolerance: relative error of elements / 64 + 8 roundings
// at the most.
#include "index.wgsl"
#include "reduce.wgsl"

struct Params {
    samples: u32,
    width: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> distance: array<f32>;

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
    let end = (sample + 1u) * p.width;
    var sum = 0.0;
    for (var i = sample * p.width + lane; i < end; i += 64u) {
        let d = a[i] - b[i];
        sum = fma(d, d, sum);
    }
    sum = reduce_sum(lane, sum);
    if lane == 0u {
        distance[sample] = p.scale * sum;
    }
}
