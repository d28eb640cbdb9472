// dz_k = (p_k sum_j t_j - t_k) dloss, p = softmax(z), written or added. A label that names no class can't be reported from
// here: its row becomes NaN.
//
// Where p of the largest logit is above 1/2 its gradient is taken from the others: 1 - p = others / sum, so that it keeps
// its digits where p rounds to 1.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: soft 20 k read, labels 12 k, 4 k more where it adds; 4 k
// written. Order: rows.wgsl; the targets' sum in blocks of 16 columns. Tolerance: relative error of some 1e-6 of the
// larger of p and t, at the peak of 1 - p and 1 - t.
#include "index.wgsl"
#include "rows.wgsl"
#include "put.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    on: f32, // target at the label,
    off: f32, // elsewhere,
    rest: f32, // and 1 - on
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> t: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> d_loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>; // dz

fn logit(side: u32, i: u32) -> f32 {
    return z[i];
}

@compute @workgroup_size(64)
fn soft(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.rows {
        return;
    }
    let start = i * p.classes;
    let row = softmax_of(0u, start, p.classes);
    var other_targets = 0.0; // all but the peak's
    for (var block = 0u; block < p.classes; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, p.classes); k++) {
            sum += select(t[start + k], 0.0, k == row.peak);
        }
        other_targets += sum;
    }
    let total = other_targets + t[start + row.peak];
    for (var k = 0u; k < p.classes; k++) {
        var slope = p_of(row, z[start + k]) * total - t[start + k];
        if certain(row, k) {
            slope = other_targets - total * tail(row);
        }
        put(start + k, d_loss[i] * slope);
    }
}

@compute @workgroup_size(64)
fn labels(
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
    let row = softmax_of(0u, start, p.classes);
    for (var k = 0u; k < p.classes; k++) {
        var slope = p_of(row, z[start + k]) - select(p.off, p.on, k == label);
        if k == label && certain(row, k) {
            slope = p.rest - tail(row);
        }
        put(start + k, d_loss[i] * slope);
    }
}
