// With the numerator n and the denominator r of the loss: dz = dloss / r at the largest logit but the label's, -dloss / r at
// the label, -dloss n / r^2 at the largest, dloss n / r^2 at the third; entries that coincide add up, 0 elsewhere. Written or
// added. A label that names no class can't be reported from here: its row becomes NaN.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 4 k read; 4 k written, or 16 read and written where it
// adds. Tolerance: six roundings and two divisions.
#include "index.wgsl"
#include "math.wgsl"
#include "put.wgsl"
#include "selection.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    tiny: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> d_loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>; // dz

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
    let ratio = ratio_of(start, p.classes, start + label, p.tiny);
    let slope = d_loss[i] / ratio.denominator;
    let bend = slope * (ratio.numerator / ratio.denominator);
    // Each addition reads what the one before it has written: entries may coincide.
    gradient[ratio.other] += slope;
    gradient[start + label] -= slope;
    gradient[ratio.first] -= bend;
    gradient[ratio.third] += bend;
}
