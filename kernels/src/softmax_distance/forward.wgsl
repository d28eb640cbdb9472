// distance = sum_k (p_k - q_k)^2 per row, p = softmax(a), q = softmax(b).
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 40 k read, 4 written. Order: rows.wgsl; blocks of 16
// columns. Tolerance: see pair.wgsl.
#include "index.wgsl"
#include "pair.wgsl"

struct Params {
    rows: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> distance: array<f32>;

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
    let pair = pair_of(i * p.classes, p.classes);
    var total = 0.0;
    for (var block = 0u; block < p.classes; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, p.classes); k++) {
            let d = difference(pair, k);
            sum = fma(d, d, sum);
        }
        total += sum;
    }
    distance[i] = total;
}
