// delta = clamp(factor d, 0 - x, 1 - x), d drawn per (random state, stream, sample id, element): uniform in -1 .. 1 times
// eps, standard normal times a standard deviation, or a standard normal direction times eps u / |d|, where u is the
// uniform value of the element behind the sample's last.
//
// main: one invocation per four elements, workgroups of 64. draw and place, for directions: one workgroup of 64 per 4096
// elements of a sample; lane l draws elements 4 l .. 4 l + 3, 256 + 4 l .., in order, then lanes and chunks are added as
// norm.wgsl says. Bytes: 4 read, 4 written per element; directions 12 and 8.
// Tolerance: draws have the CPU's bits; directions a few units in the last place, of the norm.
#include "index.wgsl"
#include "attack.wgsl"
#include "norm.wgsl"
#include "draws.wgsl"

struct Params {
    count: u32, // elements of the part; samples where norms are taken
    first: u32, // the part's first element, or sample
    width: u32, // elements of a sample
    chunks: u32, // workgroups of a sample
    stream: u32,
    deviation: f32,
    law: vec4<f32>,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> eps: array<f32>;
@group(0) @binding(5) var<storage, read_write> state: vec4<u32>;
@group(0) @binding(6) var<storage, read_write> normal_table: array<i32>;
@group(0) @binding(7) var<storage, read_write> partials: array<vec2<f32>>;

override BALL: bool = true; // times eps, else times p.deviation

fn sample_id(sample: u32) -> u32 {
    return ids[sample];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = 4u * (flat_group(group, groups) * 64u + lane);
    if start >= p.count {
        return;
    }
    var factor = p.deviation;
    if BALL {
        factor = eps[0];
    }
    let count = min(p.count - start, 4u);
    let values = draws(p.first + start, count, p.width, p.stream, p.law);
    for (var k = 0u; k < count; k++) {
        delta[start + k] = into_box(factor * values[k], x[start + k]);
    }
}

@compute @workgroup_size(64)
fn draw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = flat_group(group, groups);
    let sample = number / p.chunks;
    if sample >= p.count { // the whole workgroup
        return;
    }
    let start = number % p.chunks * CHUNK;
    let end = min(start + CHUNK, p.width);
    var sums = vec2<f32>();
    for (var i = start + 4u * lane; i < end; i += 256u) {
        let block = philox_block(state, p.stream, ids[p.first + sample], i / 4u);
        for (var k = 0u; k < min(end - i, 4u); k++) {
            let value = law_value(block[k], p.law);
            delta[sample * p.width + i + k] = value;
            sums = with_square(sums, value);
        }
    }
    put_partial(lane, p.first * p.chunks + number, sums);
}

@compute @workgroup_size(64)
fn place(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = flat_group(group, groups);
    let sample = number / p.chunks;
    if sample >= p.count {
        return;
    }
    let norm = norm_at((p.first + sample) * p.chunks, p.chunks);
    let radius = eps[0] * uniform_of(philox_word(state, p.stream, ids[p.first + sample], p.width));
    let factor = select(0.0, radius / norm, norm > 0.0);
    let start = number % p.chunks * CHUNK;
    let end = sample * p.width + min(start + CHUNK, p.width);
    for (var i = sample * p.width + start + lane; i < end; i += 64u) {
        delta[i] = into_box(factor * delta[i], x[i]);
    }
}
