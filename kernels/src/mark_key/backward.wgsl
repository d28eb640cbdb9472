// dx = dy in q and k, written or added; zeros in v, or nothing added.
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 4 read (8 where it adds), 4 written.
// Tolerance: exact, or one rounding where it adds.
#include "index.wgsl"
#include "put.wgsl"

struct Params {
    count: u32,
    first: u32, // the part's place in the tensor
    n: u32,
    w: u32, // width of q, k or v
    d: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>; // dx

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
    if (p.first + i) % (3u * p.w) < 2u * p.w {
        put(i, dy[i]);
    } else {
        put_zeros(i, 1u);
    }
}
