// first: da_k = p_k (r_k - kl) dkl, r = log p - log q, kl = sum_k p_k r_k; 0 where p is. second: db_k = (q_k - p_k) dkl.
// Written or added. Where p of the peak is above 1/2, its first gradient is p (r (1 - p) - the others' part of kl), so that
// nothing cancels.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: first 48 k read, second 40 k, 4 k more where it adds;
// 4 k written. Order: rows.wgsl; blocks of 16 columns. Tolerance: see pair.wgsl.
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
@group(0) @binding(3) var<storage, read_write> d_kl: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>; // da or db

// p r of column k; 0 where p is 0.
fn term(pair: Pair, k: u32) -> f32 {
    let share = factor_of(pair.p, a[pair.start + k]);
    return select(share * log_ratio(pair, k), 0.0, share == 0.0);
}

@compute @workgroup_size(64)
fn first(
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
    var others = 0.0; // the terms of all columns but the peak
    for (var block = 0u; block < p.classes; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, p.classes); k++) {
            sum += select(term(pair, k), 0.0, k == pair.p.peak);
        }
        others += sum;
    }
    let kl = others + term(pair, pair.p.peak);
    for (var k = 0u; k < p.classes; k++) {
        let share = factor_of(pair.p, a[start + k]);
        let r = log_ratio(pair, k);
        var slope = share * (r - kl);
        if certain(pair.p, k) && is_finite(r) {
            slope = share * (r * tail(pair.p) - others);
        }
        put(start + k, d_kl[i] * select(slope, 0.0, share == 0.0));
    }
}

@compute @workgroup_size(64)
fn second(
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
    for (var k = 0u; k < p.classes; k++) {
        put(start + k, -(d_kl[i] * difference(pair, k)));
    }
}
