// y = mean over queries of log(max(1e-30, mean over heads of the head's first feature)), per sample.
//
// Mapping: one workgroup of 64 per sample, lane l takes queries l, l + 64, ...; lanes are added as reduce.wgsl says.
// Bytes: 4 read per query and head. Tolerance: a unit in the last place per head and per query of a lane.
#include "index.wgsl"
#include "math.wgsl"
#include "reduce.wgsl"

struct Params {
    samples: u32,
    n: u32,
    h: u32,
    d: u32,
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
    let sample = flat_group(group, groups);
    if sample >= p.samples { // the whole workgroup
        return;
    }
    var total = 0.0;
    for (var i = lane; i < p.n; i += 64u) {
        let start = (sample * p.n + i) * p.h;
        var sum = 0.0;
        for (var head = 0u; head < p.h; head++) {
            sum += x[(start + head) * p.d];
        }
        let mean = sum / f32(p.h);
        total += log_(select(mean, 1e-30, mean < 1e-30));
    }
    let all = reduce_sum(lane, total);
    if lane == 0u {
        y[sample] = all / f32(p.n);
    }
}
