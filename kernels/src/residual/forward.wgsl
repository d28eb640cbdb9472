// y = x + f, or x + gamma f with one gamma per column (LayerScale).
//
// Mapping: one invocation per four elements, workgroups of 64. Bytes: 8 read, 4 written per element.
// Tolerance: one rounding per operation.
#include "quad.wgsl"

struct Params {
    count: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> f: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gamma: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

override SCALED: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i >= p.count {
        return;
    }
    var branch = f[i];
    if SCALED {
        for (var k = 0u; k < 4u; k++) {
            branch[k] = branch[k] * gamma[(4u * i + k) % p.width];
        }
    }
    put_quad(i, p.count, x[i] + branch);
}
