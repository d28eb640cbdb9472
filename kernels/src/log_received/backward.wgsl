// dx = dy / (n h mean) in each head's first feature, mean being that over heads of the query; written or added; zeros
// elsewhere and where the mean is below 1e-30, or nothing added.
//
// Mapping: one invocation per query, workgroups of 64. Bytes per query: 4 h read (8 h where it adds), 4 h d written.
// Tolerance: a unit in the last place per head.
#include "index.wgsl"
#include "put.wgsl"

struct Params {
    queries: u32, // of all samples of this part
    n: u32,
    h: u32,
    d: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>; // dx

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let query = flat_group(group, groups) * 64u + lane;
    if query >= p.queries {
        return;
    }
    let start = query * p.h * p.d;
    var sum = 0.0;
    for (var head = 0u; head < p.h; head++) {
        sum += x[start + head * p.d];
    }
    put_zeros(start, p.h * p.d);
    let mean = sum / f32(p.h);
    if mean < 1e-30 {
        return;
    }
    let slope = dy[query / p.n] / f32(p.n * p.h) / mean;
    for (var head = 0u; head < p.h; head++) {
        put(start + head * p.d, slope);
    }
}
