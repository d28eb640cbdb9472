// da_k = 2 p_k ((p_k - q_k) - sum_j p_j (p_j - q_j)) ddistance, p = softmax(a), q = softmax(b); for db the host exchanges the
// two. Written or added. Where p of the peak is above 1/2, its gradient is 2 p ((p - q) (1 - p) - the others' part of the
// sum), so that nothing cancels.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 48 k read, 4 k more where it adds; 4 k written. Order:
// rows.wgsl; blocks of 16 columns. Tolerance: see pair.wgsl.
#include "index.wgsl"
#include "pair.wgsl"
#include "put.wgsl"

struct Params {
    rows: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_distance: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>; // da

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.rows {
        return;
    }
    let start = i * p.classes;
    let pair = pair_of(start, p.classes);
    let peak = pair.p.peak;
    var others = 0.0; // the sum over all columns but the peak
    for (var block = 0u; block < p.classes; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, p.classes); k++) {
            sum += select(p_of(pair.p, a[start + k]) * difference(pair, k), 0.0, k == peak);
        }
        others += sum;
    }
    let mean = others + p_of(pair.p, a[start + peak]) * difference(pair, peak);
    for (var k = 0u; k < p.classes; k++) {
        let d = difference(pair, k);
        let centred = select(d - mean, d * tail(pair.p) - others, certain(pair.p, k));
        put(start + k, d_distance[i] * (2.0 * p_of(pair.p, a[start + k]) * centred));
    }
}
