// y = x.
//
// Mapping: one invocation per four elements, workgroups of 64. Bytes: 4 read, 4 written per element. Tolerance: exact.
#include "quad.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i < p.count {
        put_quad(i, p.count, x[i]);
    }
}
