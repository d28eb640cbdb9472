// x = a x + a, `rounds` times, for sixteen independent x per invocation: multiply-adds in registers and nothing else.
//
// Mapping: one invocation per word of x, workgroups of 64. Bytes: 4 read, 4 written per invocation.
#include "index.wgsl"

struct Params {
    rounds: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    let a = vec4<f32>(x[i]);
    var x0 = a;
    var x1 = a + 1.0;
    var x2 = a + 2.0;
    var x3 = a + 3.0;
    for (var round = 0u; round < p.rounds; round++) {
        x0 = fma(x0, a, a);
        x1 = fma(x1, a, a);
        x2 = fma(x2, a, a);
        x3 = fma(x3, a, a);
    }
    // Every lane of every vector counts, so that no compiler leaves one out.
    y[i] = dot(x0 + x1, x2 + x3);
}
