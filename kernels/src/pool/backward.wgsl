// dx = dy / tokens in the tokens that were read, written or added; zeros elsewhere, or nothing added.
//
// Mapping: one invocation per element of dx, workgroups of 64. Bytes per element: 4 read (8 where it adds), 4 written.
// Tolerance: one rounding, two where it adds.
#include "index.wgsl"
#include "put.wgsl"

struct Params {
    count: u32, // elements of dx
    n: u32,
    d: u32,
    first: u32,
    tokens: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>; // dx

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
    let row = i / p.d;
    let sample = row / p.n;
    let token = row - sample * p.n;
    if token >= p.first && token < p.first + p.tokens {
        put(i, dy[i - (row - sample) * p.d] / f32(p.tokens));
    } else {
        put_zeros(i, 1u);
    }
}
