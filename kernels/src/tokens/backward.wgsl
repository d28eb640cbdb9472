// slice: the gradient of the patches, or of noise that each sample has for itself: the tokens of dy from `first` on.
// sum: of what a batch shares, the sum over the samples of the tokens of dy from `first` on. Written or added.
//
// Mapping: one invocation per element of the gradient, workgroups of 64. Bytes per element: slice 4 read (8 where it adds),
// sum 4 per sample; 4 written. Order of the sum: the samples one after the other, also over several launches.
// Tolerance: slice exact, or one rounding where it adds; sum one rounding per sample.
#include "index.wgsl"

struct Params {
    count: u32, // elements of the gradient
    samples: u32,
    n: u32,
    d: u32,
    first: u32,
    tokens: u32, // of the gradient's sample
    add: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>;

@compute @workgroup_size(64)
fn slice(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    // Sample by sample, dy has so many elements more.
    var value = dy[i + (i / (p.tokens * p.d) * (p.n - p.tokens) + p.first) * p.d];
    if p.add != 0u {
        value = gradient[i] + value;
    }
    gradient[i] = value;
}

@compute @workgroup_size(64)
fn sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    var total = 0.0;
    if p.add != 0u {
        total = gradient[i];
    }
    for (var sample = 0u; sample < p.samples; sample++) {
        total += dy[(sample * p.n + p.first) * p.d + i];
    }
    gradient[i] = total;
}
