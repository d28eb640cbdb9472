// loss = (max over i != y of z_i, minus z_y) / (z_1 - z_3 + 1e-12) per row, z_1 >= z_2 >= z_3 its largest logits. A label
// that names no class can't be reported from here: its loss is NaN.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 4 k read, 4 written. Tolerance: three roundings and
// the division.
#include "index.wgsl"
#include "math.wgsl"
#include "selection.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    tiny: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;

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
    let ratio = ratio_of(start, p.classes, start + label, p.tiny);
    loss[i] = ratio.numerator / ratio.denominator;
}
