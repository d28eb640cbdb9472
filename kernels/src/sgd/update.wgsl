// One step of SGD: g' = c g + w p, u = mu u + g', p = p - lr (g' + mu u) with Nesterov's momentum, else p = p - lr u;
// without momentum p = p - lr g'. c is the clipping factor, w the weight decay of the element. Where c is 0 or not finite
// nothing changes.
//
// Mapping: one invocation per four elements, workgroups of 64. Bytes: 12 read, 8 written per element, with momentum.
// Tolerance: a few roundings per result; no sums.
#include "index.wgsl"
#include "clip.wgsl"
#include "decay.wgsl"

struct Params {
    count: u32,
    first: u32, // the part's place in the vector
    pieces: u32,
    mu: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> p: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> u: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> g: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> lr: array<f32>;
@group(0) @binding(5) var<storage, read_write> clip: array<f32>;
@group(0) @binding(6) var<storage, read_write> pieces: array<vec2<u32>>;

override MOMENTUM: bool = true;
override NESTEROV: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    let c = clip[1];
    if 4u * i >= params.count || !takes_step(c) {
        return;
    }
    let gradient = c * g[i] + decays(params.first + 4u * i, params.pieces) * p[i];
    var velocity = gradient;
    var direction = gradient;
    if MOMENTUM {
        velocity = params.mu * u[i] + gradient;
        direction = velocity;
        if NESTEROV {
            direction = gradient + params.mu * velocity;
        }
    }
    let stepped = p[i] - lr[0] * direction;
    let left = min(params.count - 4u * i, 4u);
    if left == 4u {
        p[i] = stepped;
        if MOMENTUM {
            u[i] = velocity;
        }
        return;
    }
    // What lies behind the vector is not ours.
    for (var k = 0u; k < left; k++) {
        p[i][k] = stepped[k];
        if MOMENTUM {
            u[i][k] = velocity[k];
        }
    }
}
