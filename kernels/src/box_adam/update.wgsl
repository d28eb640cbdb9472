// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, x = clamp(x + step m / (sqrt(v) root + eps), low, high), for samples that
// are active; a gradient that is not finite counts as 0.
//
// Mapping: one invocation per element, workgroups of 64. Bytes: 24 read, 12 written per element.
// Tolerance: a few roundings per result; no sums.
#include "index.wgsl"
#include "attack.wgsl"

struct Params {
    count: u32,
    first: u32, // the part's place in the tensor
    width: u32, // elements of a sample
    b1: f32,
    b2: f32,
    from_g: f32, // 1 - b1
    from_g2: f32, // 1 - b2
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> m: array<f32>;
@group(0) @binding(3) var<storage, read_write> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> g: array<f32>;
@group(0) @binding(5) var<storage, read_write> low: array<f32>;
@group(0) @binding(6) var<storage, read_write> high: array<f32>;
@group(0) @binding(7) var<storage, read_write> rates: array<f32>; // step, root
@group(0) @binding(8) var<storage, read_write> chosen: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count || is_zero(chosen[(p.first + i) / p.width]) {
        return;
    }
    let slope = select(0.0, g[i], is_finite(g[i]));
    let first = p.b1 * m[i] + p.from_g * slope;
    let second = p.b2 * v[i] + p.from_g2 * (slope * slope);
    m[i] = first;
    v[i] = second;
    x[i] = within(x[i] + rates[0] * first / (sqrt(second) * rates[1] + p.eps), low[i], high[i]);
}
