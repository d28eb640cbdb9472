// y = x + f, or x + gamma f with one gamma per column (LayerScale).
//
// Mapping: one invocation per element, workgroups of 64. Bytes: 8 read, 4 written per element.
// Tolerance: one rounding per operation.
#include "index.wgsl"

struct Params {
    count: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> f: array<f32>;
@group(0) @binding(3) var<storage, read_write> gamma: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

override SCALED: bool = false;

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
    if SCALED {
        y[i] = x[i] + gamma[i % p.width] * f[i];
    } else {
        y[i] = x[i] + f[i];
    }
}
