// dx = dy where the input was taken, written or added; zeros elsewhere, or nothing added. INSIDE: the patch's, else the
// image's.
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 8 read (12 where it adds), 4 written.
// Tolerance: exact, or one rounding where it adds.
#include "index.wgsl"
#include "attack.wgsl"
#include "put.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> mask: array<u32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>; // dx

override INSIDE: bool = false;

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
    if is_zero(mask[i]) != INSIDE {
        put(i, dy[i]);
    } else {
        put_zeros(i, 1u);
    }
}
