// a = a + rate (p - a).
//
// Mapping: one invocation per four elements, workgroups of 64. Bytes: 8 read, 4 written per element.
// Tolerance: one rounding per operation.
#include "index.wgsl"

struct Params {
    count: u32,
    rate: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> average: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> p: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i >= params.count {
        return;
    }
    let value = average[i] + params.rate * (p[i] - average[i]);
    let left = min(params.count - 4u * i, 4u);
    if left == 4u {
        average[i] = value;
        return;
    }
    // What lies behind the vector is not ours.
    for (var k = 0u; k < left; k++) {
        average[i][k] = value[k];
    }
}
