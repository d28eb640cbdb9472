// kl = sum_k p_k (log p_k - log q_k) per row, p = softmax(a), q = softmax(b).
//
// Summed as p_k (r_k - 1 + e^-r_k), r = log p - log q, where no term is negative: the parts q_k - p_k sum to 0, while the
// plain terms of rows that are nearly alike cancel to less than their rounding.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 40 k read, 4 written. Order: rows.wgsl; blocks of 16
// columns. Tolerance: see pair.wgsl; relative error of some 1e-6 where the rows are nearly alike.
#include "index.wgsl"
#include "pair.wgsl"

struct Params {
    rows: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> kl: array<f32>;

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
            sum += surplus(pair, k);
        }
        total += sum;
    }
    kl[i] = total;
}
