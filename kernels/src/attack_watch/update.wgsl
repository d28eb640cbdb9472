// Which samples are stepped next: those that run, are classified correctly and have steps left.
//
// Mapping: one invocation per sample, workgroups of 64. Bytes per sample: 16 read, 12 written. Tolerance: exact.
#include "index.wgsl"
#include "math.wgsl"
#include "progress.wgsl"

struct Params {
    rows: u32,
    steps: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> progress: array<f32>;
@group(0) @binding(2) var<storage, read_write> chosen: array<f32>; // 1 where a step follows
@group(0) @binding(3) var<storage, read_write> margins: array<f32>;

override STOP: bool = true; // once misclassified

const COLUMNS = 3u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.rows {
        return;
    }
    let at = i * COLUMNS;
    chosen[i] = 0.0;
    if progress[at + STATUS] != RUNNING {
        return;
    }
    let margin = margins[i];
    if STOP && margin > 0.0 && !is_nan(margin) {
        progress[at + STATUS] = FOOLED;
    } else if progress[at + STEPS] == f32(p.steps) {
        progress[at + STATUS] = SPENT;
    } else {
        progress[at + STEPS] += 1.0;
        chosen[i] = 1.0;
    }
}
