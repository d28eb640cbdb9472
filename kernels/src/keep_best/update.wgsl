// Where a sample's score exceeds its best so far, best = candidate and best score = score. NaN exceeds nothing and nothing
// exceeds NaN.
//
// samples: one invocation per element copies; scores: one per sample, after it. Workgroups of 64.
// Bytes: up to 12 read, 4 written per element. Tolerance: exact.
#include "index.wgsl"
#include "math.wgsl"

struct Params {
    count: u32,
    first: u32, // the part's place in the tensor
    width: u32, // elements of a sample
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> best: array<u32>;
@group(0) @binding(2) var<storage, read_write> best_score: array<f32>;
@group(0) @binding(3) var<storage, read_write> candidate: array<u32>;
@group(0) @binding(4) var<storage, read_write> score: array<f32>;

fn wins(sample: u32) -> bool {
    let a = score[sample];
    let b = best_score[sample];
    return a > b && !is_nan(a) && !is_nan(b);
}

@compute @workgroup_size(64)
fn samples(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    if wins((p.first + i) / p.width) {
        best[i] = candidate[i];
    }
}

@compute @workgroup_size(64)
fn scores(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    if wins(i) {
        best_score[i] = score[i];
    }
}
