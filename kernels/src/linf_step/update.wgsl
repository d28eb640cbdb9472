// delta = clamp(clamp(delta + alpha sign(g), -eps, eps), 0 - x, 1 - x), sign(0) = sign(NaN) = 0, for samples that are active.
//
// Mapping: one invocation per element, workgroups of 64. Bytes: 12 read, 4 written per element.
// Tolerance: one rounding per operation.
#include "index.wgsl"
#include "attack.wgsl"

struct Params {
    count: u32,
    first: u32, // the part's place in the tensor
    width: u32, // elements of a sample
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<u32>; // bits: a subnormal gradient counts
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> eps: array<f32>;
@group(0) @binding(5) var<storage, read_write> alpha: array<f32>;
@group(0) @binding(6) var<storage, read_write> chosen: array<u32>;

override SOME: bool = false; // only samples that are active

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
    if SOME {
        if is_zero(chosen[(p.first + i) / p.width]) {
            return;
        }
    }
    let magnitude = g[i] & 0x7fffffffu;
    let moves = magnitude > 0u && magnitude <= 0x7f800000u;
    let step = select(alpha[0], -alpha[0], g[i] != magnitude);
    let moved = delta[i] + select(0.0, step, moves);
    delta[i] = into_box(within(moved, -eps[0], eps[0]), x[i]);
}
