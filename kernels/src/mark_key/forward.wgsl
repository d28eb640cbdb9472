// y = qkv in q and k; in v, 1 in the first feature of each head of the key's token, else 0. A key that names no token can't
// be reported from here: all its sample's values are NaN.
//
// Mapping: one invocation per element, workgroups of 64. Bytes per element: 4 read, 4 written. Tolerance: exact.
#include "index.wgsl"
#include "math.wgsl"

struct Params {
    count: u32,
    first: u32, // the part's place in the tensor
    n: u32,
    w: u32, // width of q, k or v
    d: u32, // features of a head
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read_write> keys: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

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
    let at = p.first + i;
    let row = at / (3u * p.w);
    let column = at - row * 3u * p.w;
    if column < 2u * p.w {
        y[i] = qkv[i];
        return;
    }
    let sample = row / p.n;
    let key = keys[sample];
    let marked = key == row - sample * p.n && (column - 2u * p.w) % p.d == 0u;
    y[i] = select(select(0.0, 1.0, marked), nan(), key >= p.n);
}
