// loss = max over i != y of z_i, minus z_y, per row; with a cap at most that. A label that names no class can't be reported
// from here: its loss is NaN.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 4 k read, 4 written. Tolerance: one rounding.
#include "index.wgsl"
#include "math.wgsl"
#include "selection.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    cap: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;

override CAPPED: bool = false;

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
    let label = u32(y[i]);
    if label >= p.classes {
        loss[i] = nan();
        return;
    }
    let start = i * p.classes;
    let margin = z[start + runner_up(start, p.classes, label)] - z[start + label];
    loss[i] = select(margin, p.cap, CAPPED && margin > p.cap);
}
