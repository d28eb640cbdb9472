// loss = -sum_k t_k log softmax(z)_k per row; soft: targets t, terms with t = 0 left out; labels: t = (1 - s) onehot(y) +
// s / k. A label that names no class can't be reported from here: its loss is NaN.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: soft 16 k read, labels 8 k (12 k with smoothing); 4
// written. Order: rows.wgsl; blocks of 16 columns. Tolerance: relative error of some 1e-6, also where p is near 1.
#include "index.wgsl"
#include "rows.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    smoothing: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> t: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;

override SMOOTH: bool = false;

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
    let shift = log_sum(row);
    var total = 0.0;
    for (var block = 0u; block < p.classes; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, p.classes); k++) {
            let share = t[start + k];
            sum += select(-(share * log_p(row, k, z[start + k], shift)), 0.0, share == 0.0);
        }
        total += sum;
    }
    loss[i] = total;
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
    let label = u32(y[i]);
    if label >= p.classes {
        loss[i] = nan();
        return;
    }
    let start = i * p.classes;
    let row = softmax_of(0u, start, p.classes);
    let shift = log_sum(row);
    var result = -log_p(row, label, z[start + label], shift);
    if SMOOTH {
        var below = 0.0;
        for (var block = 0u; block < p.classes; block += BLOCK) {
            var sum = 0.0;
            for (var k = block; k < min(block + BLOCK, p.classes); k++) {
                sum += row.max - z[start + k];
            }
            below += sum;
        }
        result = (1.0 - p.smoothing) * result + p.smoothing * (below / f32(p.classes) + shift);
    }
    loss[i] = result;
}
