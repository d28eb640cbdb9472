// dx = act'(x) dy, written or added.
//
// Mapping: one invocation per element, workgroups of 64. Bytes: 8 read (12 where it adds), 4 written per element.
#include "index.wgsl"
#include "math.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

override GELU: bool = true;
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
    var d: f32;
    if GELU {
        d = dy[i] * gelu_both(x[i]).y;
    } else {
        // Selected, not multiplied: an infinite dy gives 0 where x is negative.
        d = select(0.0, dy[i], x[i] > 0.0);
    }
    if ADD {
        d = dx[i] + d;
    }
    dx[i] = d;
}
