// One step of AdamW: m = b1 m + (1 - b1) c g, v = b2 v + (1 - b2) (c g)^2,
// p = (1 - lr w) p - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps), with c the clipping factor and w the weight
// decay of the element. Where c is 0 or not finite nothing changes, t included.
//
// prepare: one invocation advances t and computes what all elements share: 1 - b^t as -expm1(t log b), within 6 ulp.
// main: one invocation per four elements, workgroups of 64. Bytes: 16 read, 12 written per element.
// Tolerance: a few roundings per result; no sums.
#include "index.wgsl"
#include "math.wgsl"
#include "clip.wgsl"
#include "decay.wgsl"

struct Prepare {
    log_b1: f32,
    log_b2: f32,
}

struct Params {
    count: u32,
    first: u32, // the part's place in the vector
    pieces: u32,
    b1: f32,
    b2: f32,
    from_g: f32, // 1 - b1
    from_g2: f32, // 1 - b2
    eps: f32,
}

struct Factors {
    clip: f32, // 0 where the step is left out
    lr: f32,
    step: f32, // lr / (1 - b1^t)
    root: f32, // 1 / sqrt(1 - b2^t)
}

@group(0) @binding(0) var<uniform> q: Prepare;
@group(0) @binding(1) var<storage, read_write> steps: array<u32>;
@group(0) @binding(2) var<storage, read_write> lr: array<f32>;
@group(0) @binding(3) var<storage, read_write> clip: array<f32>;
@group(0) @binding(4) var<storage, read_write> prepared: Factors;

@compute @workgroup_size(1)
fn prepare() {
    if !takes_step(clip[1]) {
        prepared.clip = 0.0;
        return;
    }
    let before = steps[0];
    let now = select(before, before + 1u, before < 0xffffffffu);
    steps[0] = now;
    let t = f32(now);
    prepared = Factors(clip[1], lr[0], lr[0] / -expm1_(t * q.log_b1), 1.0 / sqrt(-expm1_(t * q.log_b2)));
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> p: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> g: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> factors: vec4<f32>; // Factors
@group(0) @binding(6) var<storage, read_write> pieces: array<vec2<u32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    let f = factors;
    if 4u * i >= params.count || !takes_step(f.x) {
        return;
    }
    let shrink = 1.0 - f.y * decays(params.first + 4u * i, params.pieces);
    let gradient = f.x * g[i];
    let first = params.b1 * m[i] + params.from_g * gradient;
    let second = params.b2 * v[i] + params.from_g2 * (gradient * gradient);
    let stepped = p[i] * shrink - f.z * first / (sqrt(second) * f.w + params.eps);
    let left = params.count - 4u * i;
    if left >= 4u {
        m[i] = first;
        v[i] = second;
        p[i] = stepped;
        return;
    }
    // What lies behind the vector is not ours.
    for (var k = 0u; k < left; k++) {
        m[i][k] = first[k];
        v[i][k] = second[k];
        p[i][k] = stepped[k];
    }
}
