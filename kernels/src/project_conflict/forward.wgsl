// y = sum + weight (h - c g), c = min(0, <h, g>) / |g|^2 per sample; PUBLISHED divides by |g|.
//
// Mapping: one workgroup of 64 per sample, lane l handles elements l, l + 64, ...; lanes are added as reduce.wgsl says.
// Bytes: 28 read, 4 written per element. g and h are brought near 1 by powers of two before they are multiplied: products of
// tiny gradients vanish. Tolerance: sums within a unit in the last place per element of a lane.
#include "index.wgsl"
#include "math.wgsl"
#include "reduce.wgsl"
#include "scale.wgsl"

struct Params {
    samples: u32,
    width: u32, // elements of a sample
    weight: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> sum: array<f32>;
@group(0) @binding(2) var<storage, read_write> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> h: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

override PUBLISHED: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let sample = flat_group(group, groups);
    if sample >= p.samples { // the whole workgroup
        return;
    }
    let start = sample * p.width;
    let end = start + p.width;
    var most = vec2<f32>();
    for (var i = start + lane; i < end; i += 64u) {
        most = vec2<f32>(larger(most.x, abs(g[i])), larger(most.y, abs(h[i])));
    }
    let by_g = scale_of(reduce_max(lane, most.x));
    let by_h = scale_of(reduce_max(lane, most.y));
    var sums = vec2<f32>();
    for (var i = start + lane; i < end; i += 64u) {
        let a = g[i] * by_g.x * by_g.y;
        sums = fma(vec2<f32>(a, a), vec2<f32>(h[i] * by_h.x * by_h.y, a), sums);
    }
    let product = reduce_sum(lane, sums.x);
    let squares = reduce_sum(lane, sums.y);
    // c g = (c' / by_h) (g by_g): only the scaled g is multiplied.
    var c = 0.0;
    if product < 0.0 {
        c = product / squares;
        if PUBLISHED { // times |g|, which is sqrt(squares) / by_g
            c = product / sqrt(squares) / by_g.x / by_g.y;
        }
    }
    for (var i = start + lane; i < end; i += 64u) {
        let along = c * (g[i] * by_g.x * by_g.y) / by_h.x / by_h.y;
        y[i] = sum[i] + p.weight * (h[i] - along);
    }
}
