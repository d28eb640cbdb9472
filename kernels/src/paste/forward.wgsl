// y = patch where mask != 0, else image. Words are copied: NaN keeps its bits.
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 8 read, 4 written. Tolerance: exact.
#include "index.wgsl"
#include "attack.wgsl"

struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> image: array<u32>;
@group(0) @binding(2) var<storage, read_write> patch_: array<u32>;
@group(0) @binding(3) var<storage, read_write> mask: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<u32>;

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
    if is_zero(mask[i]) {
        y[i] = image[i];
    } else {
        y[i] = patch_[i];
    }
}
