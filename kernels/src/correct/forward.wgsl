// right = 1 where the label's logit is the largest of its row (of equals the first counts), else 0; 0 for a row that holds
// NaN. A label that names no class can't be reported from here: it gives NaN.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 4 k read, 4 written. Exact.
#include "index.wgsl"
#include "math.wgsl"

struct Params {
    rows: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> right: array<f32>;

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
        right[i] = nan();
        return;
    }
    let start = i * p.classes;
    let own = z[start + label];
    var wins = !is_nan(own);
    for (var k = 0u; k < p.classes; k++) {
        let value = z[start + k];
        let below = value < own || (k >= label && value == own);
        wins = wins && below && !is_nan(value);
    }
    right[i] = select(0.0, 1.0, wins);
}
