// y = sum over up to four terms of c_i x_i, written or added: more terms take more launches. With one term it is the
// gradient dx_i = c_i dy too.
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 4 read per term (4 more where it adds), 4 written.
// Order: the terms one after the other. Tolerance: two roundings per term.
#include "index.wgsl"

struct Params {
    factors: vec4<f32>,
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> x0: array<f32>;
@group(0) @binding(3) var<storage, read_write> x1: array<f32>;
@group(0) @binding(4) var<storage, read_write> x2: array<f32>;
@group(0) @binding(5) var<storage, read_write> x3: array<f32>;

override TERMS: u32 = 1u;
override ADD: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    var sum = p.factors.x * x0[i];
    if ADD {
        sum = y[i] + sum;
    }
    if TERMS > 1u {
        sum += p.factors.y * x1[i];
    }
    if TERMS > 2u {
        sum += p.factors.z * x2[i];
    }
    if TERMS > 3u {
        sum += p.factors.w * x3[i];
    }
    y[i] = sum;
}
