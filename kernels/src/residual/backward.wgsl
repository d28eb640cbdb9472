// branch: df = gamma dy. gamma: dgamma[c] = sum over rows of dy[r, c] f[r, c]. Written or added.
//
// Mapping: branch: one invocation per element. gamma: one workgroup of 64 per column; lane l sums rows l, l + 64, ... in
// order, then the lanes are added as reduce.wgsl says: the same order in every run.
// Bytes: branch 4 read, 4 written per element; gamma 8 read per element.
#include "index.wgsl"
#include "reduce.wgsl"

struct Params {
    count: u32, // elements for branch, rows for gamma
    width: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> factor: array<f32>; // gamma for branch, f for gamma
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

override ADD: bool = false;

@compute @workgroup_size(64)
fn branch(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    var d = factor[i % p.width] * dy[i];
    if ADD {
        d = result[i] + d;
    }
    result[i] = d;
}

@compute @workgroup_size(64)
fn gamma(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = flat_group(group, groups);
    if column >= p.width { // the whole workgroup
        return;
    }
    var sum = 0.0;
    for (var row = lane; row < p.count; row += 64u) {
        let i = row * p.width + column;
        sum = fma(dy[i], factor[i], sum);
    }
    sum = reduce_sum(lane, sum);
    if lane == 0u {
        if ADD {
            sum = result[column] + sum;
        }
        result[column] = sum;
    }
}
