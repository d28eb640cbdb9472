// What becomes of a proposal of the Square Attack, per sample: mod.rs has the rule and the columns of a row.
//
// samples: one invocation per element copies; rows: one per sample, after it. Workgroups of 64. Bytes per element: up to 4 read and 4
// written. Tolerance: exact.
#include "index.wgsl"
#include "math.wgsl"
#include "progress.wgsl"

struct Params {
    count: u32,
    first: u32, // the part's place in the tensor
    width: u32, // elements of a sample
    queries: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> best: array<u32>;
@group(0) @binding(2) var<storage, read_write> progress: array<f32>;
@group(0) @binding(3) var<storage, read_write> trial: array<u32>;
@group(0) @binding(4) var<storage, read_write> margins: array<f32>;

const COLUMNS = 4u;
const LOSS = 3u;

fn less(a: f32, b: f32) -> bool {
    return a < b && !is_nan(a) && !is_nan(b);
}

fn is_taken(sample: u32) -> bool {
    let at = sample * COLUMNS;
    let loss = -margins[sample];
    let better = less(loss, progress[at + LOSS]) || less(loss, 0.0) || loss == 0.0;
    return progress[at + STATUS] == RUNNING && (progress[at + STEPS] == 0.0 || better);
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
    if is_taken((p.first + i) / p.width) {
        best[i] = trial[i];
    }
}

@compute @workgroup_size(64)
fn rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    let at = i * COLUMNS;
    if progress[at + STATUS] != RUNNING {
        return;
    }
    let loss = -margins[i];
    if is_taken(i) {
        progress[at + LOSS] = loss;
    }
    if less(loss, 0.0) {
        progress[at + STATUS] = FOOLED;
    } else if progress[at + STEPS] == f32(p.queries) {
        progress[at + STATUS] = SPENT;
    }
    progress[at + STEPS] += 1.0;
}
