// da = 2 s (a - b) ddistance, s = 1 or 1 / elements of a sample; for db the host exchanges the two. Written or added.
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 12 read (16 where it adds), 4 written.
// Tolerance: three roundings.
#include "index.wgsl"
#include "math.wgsl"
#include "put.wgsl"

struct Params {
    count: u32,
    width: u32, // elements of a sample
    scale: f32, // 2 s
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_distance: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>; // da

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
    put(i, (p.scale * d_distance[i / p.width]) * (a[i] - b[i]));
}
