// y = -log(e^-a + e^-b) = min(a, b) - log(1 + e^-|a - b|).
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 8 read, 4 written. Tolerance: a few units in the
// last place.
#include "index.wgsl"
#include "math.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

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
    // Equal infinities have no difference.
    let gap = select(abs(a[i] - b[i]), 0.0, a[i] == b[i]);
    y[i] = select(a[i], b[i], b[i] < a[i]) - log1p_(exp_(-gap));
}
