// y = (x - mean[c]) factor[c], factor = 1 / std, for up to four of the channels c, written or added: more channels take more
// launches. With means of 0 it is the gradient too.
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 4 read (8 where it adds), 4 written.
// Tolerance: three roundings.
#include "index.wgsl"

struct Params {
    mean: vec4<f32>,
    factor: vec4<f32>,
    count: u32,
    start: u32, // the first element's place in its sample
    pixels: u32,
    channels: u32,
    first: u32, // the first of the channels of this launch
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

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
    let channel = (p.start + i) / p.pixels % p.channels;
    if channel < p.first || channel >= p.first + 4u {
        return;
    }
    var value = (x[i] - p.mean[channel - p.first]) * p.factor[channel - p.first];
    if ADD {
        value = y[i] + value;
    }
    y[i] = value;
}
