// first: da_j = beta (W p_j (r_j - K) - K p_y ([j = y] - p_j)) dloss, W = 1.0000001 - p_y, r = log p - log(q + 1e-12). second:
// db_j = (q_j - [j = y] + s ([j = k] - q_j) + beta W (q_j sum_i p_i f_i - p_j f_j)) dloss, s = q_k / (1.0001 - q_k + 1e-12),
// f_i = q_i / (q_i + 1e-12). Names as in forward.wgsl. Written or added. Where p of the peak is above 1/2, its first
// gradient is p (r (1 - p) - the others' part of K), so that nothing cancels; where
// most of p lies above the floor, f is taken as 1 less the floor's share, and q - p as kl_divergence does. A label
// that names no class can't be reported from here: its row becomes NaN.
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: first 56 k read, second 48 k, 4 k more where it adds;
// 4 k written. Order: rows.wgsl; blocks of 16 columns. Tolerance: see pair.wgsl.
#include "index.wgsl"
#include "mart.wgsl"
#include "put.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    beta: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<i32>;
@group(0) @binding(4) var<storage, read_write> d_loss: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>; // da or db

// p r of column k; 0 where p is 0.
fn term(pair: Pair, k: u32) -> f32 {
    let share = factor_of(pair.p, a[pair.start + k]);
    return select(share * floored_ratio(pair, k), 0.0, share == 0.0);
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
    let label = u32(y[i]);
    if label >= p.classes {
        put_nans(start, p.classes);
        return;
    }
    let pair = pair_of(start, p.classes);
    var others = 0.0; // the terms of all columns but the peak
    for (var block = 0u; block < p.classes; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, p.classes); k++) {
            sum += select(term(pair, k), 0.0, k == pair.p.peak);
        }
        others += sum;
    }
    let divergence = others + term(pair, pair.p.peak);
    let weight = weight_of(pair, label);
    let p_label = p_of(pair.p, a[start + label]);
    for (var k = 0u; k < p.classes; k++) {
        let share = factor_of(pair.p, a[start + k]);
        let r = floored_ratio(pair, k);
        var slope = share * (r - divergence);
        if certain(pair.p, k) && is_finite(r) {
            slope = share * (r * tail(pair.p) - others);
        }
        slope = weight * select(slope, 0.0, share == 0.0);
        let away = select(-p_of(pair.p, a[start + k]), rest_of(pair.p, k, a[start + k]), k == label);
        put(start + k, d_loss[i] * (p.beta * (slope - divergence * p_label * away)));
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
    let label = u32(y[i]);
    if label >= p.classes {
        put_nans(start, p.classes);
        return;
    }
    let pair = pair_of(start, p.classes);
    var floored = 0.0; // sum_i p_i (1 - f_i)
    var passed = 0.0; // sum_i p_i f_i
    for (var block = 0u; block < p.classes; block += BLOCK) {
        var sums = vec2<f32>(0.0);
        for (var k = block; k < min(block + BLOCK, p.classes); k++) {
            let q = p_of(pair.q, b[start + k]);
            sums += p_of(pair.p, a[start + k]) * vec2<f32>(FLOOR, q) / (q + FLOOR);
        }
        floored += sums.x;
        passed += sums.y;
    }
    let other = wrong_class(pair, p.classes, label);
    let most = p_of(pair.q, b[start + other]);
    let boost = most / (rest_of(pair.q, other, b[start + other]) + 1e-4);
    let pull = p.beta * weight_of(pair, label);
    for (var k = 0u; k < p.classes; k++) {
        let share = p_of(pair.p, a[start + k]);
        let q = p_of(pair.q, b[start + k]);
        let rest = rest_of(pair.q, k, b[start + k]);
        var slope = q * (1.0 - boost);
        if k == label {
            slope = -rest - boost * q;
        } else if k == other {
            slope = q + boost * rest;
        }
        var push = q * passed - share * (q / (q + FLOOR));
        if q >= 1e-9 && floored < 0.5 {
            push = (share * (FLOOR / (q + FLOOR)) - difference(pair, k)) - q * floored;
        }
        put(start + k, d_loss[i] * (slope + pull * push));
    }
}
