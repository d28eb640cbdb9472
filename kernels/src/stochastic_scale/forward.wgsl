// y = s x; backward the same of dy, written or added. s is drawn per column for the whole batch or per sample, or per
// element.
//
// draw: one invocation per four scales that tokens share. shared_quads, shared_singles: one per four elements, in tokens
// of whole fours or not. own_scales: one per four elements, whose scales it draws. Workgroups of 64.
// Bytes: 4 read (8 where it adds), 4 written per element, and 4 read per element's scale.
// Tolerance: scales have the CPU's bits; one rounding.
#include "draws.wgsl"
#include "quad.wgsl"

struct Params {
    count: u32, // elements of the part
    first: u32, // the part's place in the tensor
    width: u32, // elements of one draw: of a token, or of a sample where nothing is shared
    sample: u32, // elements of a sample
    stream: u32,
    law: vec4<f32>,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: vec4<u32>;
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> normal_table: array<i32>;
@group(0) @binding(4) var<storage, read_write> scales: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> single_scales: array<f32>;
@group(0) @binding(5) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;

override BATCH: bool = false; // one draw for all samples
override ADD: bool = false;

fn sample_id(sample: u32) -> u32 {
    if BATCH {
        return 0u;
    }
    return ids[sample];
}

fn put(i: u32, value: vec4<f32>) {
    if ADD {
        put_quad(i, p.count, y[i] + value);
    } else {
        put_quad(i, p.count, value);
    }
}

// Where the scale of an element of the tensor lies.
fn scale_at(element: u32) -> u32 {
    let column = element % p.width;
    if BATCH {
        return column;
    }
    return element / p.sample * p.width + column;
}

@compute @workgroup_size(64)
fn draw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = 4u * (flat_group(group, groups) * 64u + lane);
    if start >= p.count {
        return;
    }
    let count = min(p.count - start, 4u);
    let values = draws(start, count, p.width, p.stream, p.law);
    for (var k = 0u; k < count; k++) {
        single_scales[start + k] = values[k];
    }
}

@compute @workgroup_size(64)
fn shared_quads(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i >= p.count {
        return;
    }
    put(i, scales[scale_at(p.first + 4u * i) / 4u] * x[i]);
}

@compute @workgroup_size(64)
fn shared_singles(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i >= p.count {
        return;
    }
    var factors = vec4<f32>();
    for (var k = 0u; k < min(p.count - 4u * i, 4u); k++) {
        factors[k] = single_scales[scale_at(p.first + 4u * i + k)];
    }
    put(i, factors * x[i]);
}

@compute @workgroup_size(64)
fn own_scales(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i >= p.count {
        return;
    }
    put(i, draws(p.first + 4u * i, min(p.count - 4u * i, 4u), p.width, p.stream, p.law) * x[i]);
}
