// d = delta + alpha g / (|g| + 1e-10), d = d min(1, eps / |d|), delta = clamp(d, 0 - x, 1 - x), per sample, for samples
// that are active. A sample whose gradient's norm is not finite takes no step.
//
// measure: partial sums of g^2. advance: the step, and partial sums of d^2. project: the rest.
// Mapping: one workgroup of 64 per 4096 elements of a sample; lane l handles elements l, l + 64, ... in order, then lanes
// and chunks are added as norm.wgsl says. Bytes: 24 read, 8 written per element.
// Tolerance: norms within a few units in the last place times log2 of the sample's elements.
#include "index.wgsl"
#include "attack.wgsl"
#include "norm.wgsl"

struct Params {
    samples: u32, // of this part
    first: u32, // the part's first sample
    width: u32, // elements of a sample
    chunks: u32, // workgroups of a sample
    halfway: u32, // partial sums of d^2 lie behind so many of g^2
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> eps: array<f32>;
@group(0) @binding(5) var<storage, read_write> alpha: array<f32>;
@group(0) @binding(6) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(7) var<storage, read_write> partials: array<vec2<f32>>;

override SOME: bool = false; // only samples that are active

// What a workgroup handles: elements start .. end of the buffers, none where the sample is not active.
struct Part {
    start: u32,
    end: u32,
    sample: u32, // among those of all parts
}

fn part_of(number: u32) -> Part {
    let sample = number / p.chunks;
    let first = sample * p.width;
    let start = first + number % p.chunks * CHUNK;
    var end = min(start + CHUNK, first + p.width);
    if SOME {
        end = select(end, start, is_zero(chosen[p.first + sample]));
    }
    return Part(start, end, p.first + sample);
}

@compute @workgroup_size(64)
fn measure(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = flat_group(group, groups);
    if number >= p.samples * p.chunks { // the whole workgroup
        return;
    }
    let part = part_of(number);
    var sums = vec2<f32>();
    for (var i = part.start + lane; i < part.end; i += 64u) {
        sums = with_square(sums, g[i]);
    }
    put_partial(lane, p.first * p.chunks + number, sums);
}

@compute @workgroup_size(64)
fn advance(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = flat_group(group, groups);
    if number >= p.samples * p.chunks { // the whole workgroup
        return;
    }
    let part = part_of(number);
    let norm = norm_at(part.sample * p.chunks, p.chunks);
    let factor = alpha[0] / (norm + 1e-10);
    let steps = is_finite(norm);
    var sums = vec2<f32>();
    for (var i = part.start + lane; i < part.end; i += 64u) {
        let d = delta[i] + select(0.0, factor * g[i], steps);
        delta[i] = d;
        sums = with_square(sums, d);
    }
    put_partial(lane, p.halfway + p.first * p.chunks + number, sums);
}

@compute @workgroup_size(64)
fn project(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = flat_group(group, groups);
    if number >= p.samples * p.chunks {
        return;
    }
    let part = part_of(number);
    let norm = norm_at(p.halfway + part.sample * p.chunks, p.chunks);
    let shrink = select(1.0, eps[0] / norm, norm > eps[0]);
    for (var i = part.start + lane; i < part.end; i += 64u) {
        delta[i] = into_box(delta[i] * shrink, x[i]);
    }
}
