// With the numerator n and the denominator r of the loss: dz = dloss / r at t, -dloss / r at y, -dloss n / r^2 at the largest, half
// of dloss n / r^2 at the third and the fourth; entries that coincide add up, 0 elsewhere. Written or added. A label or target that
// names no class can't be reported from here: its row becomes NaN.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 4 k read; 4 k written, or 20 read and written where it
// adds. Tolerance: eight roundings and two divisions.
#include "index.wgsl"
#include "math.wgsl"
#include "put.wgsl"
#include "top.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    tiny: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;
@group(0) @binding(3) var<storage, read_write> t: array<i32>;
@group(0) @binding(4) var<storage, read_write> d_loss: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>; // dz

override SCALED: bool = true; // by r

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
    let goal = u32(t[i]);
    if label >= p.classes || goal >= p.classes {
        put_nans(start, p.classes);
        return;
    }
    put_zeros(start, p.classes);
    var slope = d_loss[i];
    // Each addition reads what the one before it has written: entries may coincide.
    if SCALED {
        let top = top_of(start, p.classes);
        slope = slope / top.denominator;
        let bend = slope * ((z[start + goal] - z[start + label]) / top.denominator);
        gradient[top.first] -= bend;
        gradient[top.third] += 0.5 * bend;
        gradient[top.fourth] += 0.5 * bend;
    }
    gradient[start + goal] += slope;
    gradient[start + label] -= slope;
}
