// d own = dy / (1 + e^(own - other)), written or added.
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 12 read (16 where it adds), 4 written.
// Tolerance: a few units in the last place.
#include "index.wgsl"
#include "put.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> own: array<f32>;
@group(0) @binding(2) var<storage, read_write> other: array<f32>;
@group(0) @binding(3) var<storage, read_write> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;

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
    let gap = select(own[i] - other[i], 0.0, own[i] == other[i]);
    // Of a large gap the exponential overflows: its inverse is taken instead.
    let small = exp_(-abs(gap));
    put(i, dy[i] * select(1.0, small, gap > 0.0) / (1.0 + small));
}
