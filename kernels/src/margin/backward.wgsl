// dz = dloss at the largest logit but the label's (the first, of equals), -dloss at the label, 0 elsewhere and beyond the
// cap; written or added. NaN is beyond every cap. A label that names no class can't be reported from here: its row becomes
// NaN.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 4 k read; 4 k written, or 8 read and written where it
// adds. Tolerance: exact, or one rounding where it adds.
#include "index.wgsl"
#include "math.wgsl"
#include "put.wgsl"
#include "selection.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    cap: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> d_loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>; // dz

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
    let start = i * p.classes;
    let label = u32(y[i]);
    if label >= p.classes {
        put_nans(start, p.classes);
        return;
    }
    put_zeros(start, p.classes);
    let other = start + runner_up(start, p.classes, label);
    let margin = z[other] - z[start + label];
    if CAPPED && (is_nan(margin) || margin > p.cap) {
        return;
    }
    put(other, d_loss[i]);
    put(start + label, -d_loss[i]);
}
