// y = sum of `tokens` tokens from `first` on / tokens, per sample and column.
//
// Mapping: one invocation per element of y, workgroups of 64. Bytes per element of y: 4 read per token, 4 written. Order:
// token by token. Tolerance: one rounding per token; one token is copied.
#include "index.wgsl"

struct Params {
    count: u32, // elements of y
    n: u32,
    d: u32,
    first: u32,
    tokens: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    let start = i + (i / p.d * (p.n - 1u) + p.first) * p.d;
    var sum = x[start];
    for (var token = 1u; token < p.tokens; token++) {
        sum += x[start + token * p.d];
    }
    y[i] = sum / f32(p.tokens);
}
