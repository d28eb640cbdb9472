// The gradient of attention, for attention.wgsl and attention_ones.wgsl or attention_fours.wgsl, which the including file
// has included; from the log-sum-exps l that forward kept and the D of deltas.wgsl, written or added. Per image and head:
// p = exp(q k' scale - l), D = rowsum(do out), ds = p (do v' - D) scale; dq = ds k, dk = ds' q, dv = p' do.
// Any number of tokens, any head width.
//
// Mapping: a workgroup of 64 has 32 query rows of a head (for keys: 32 rows of keys and values) and 64 of their features; it
// takes 32 keys (queries) at a time, see attention_tiles.wgsl.
// Order of sums: attention_tiles.wgsl, tiles in order.
// Bytes: queries: q and do read once, k and v once per 32 query rows, dq written once. keys: the same the other way round.
// Tolerance: 4 ulp of the largest |do| |v| |k| scale times the square root of the rows, and 16 ulp of the largest score.
#include "index.wgsl"
#include "math.wgsl"
#include "attention_tiles.wgsl"

@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta: array<f32>;

fn store(part: u32, row: u32, feature: u32, values: mat4x4<f32>) {
    for (var r = 0u; r < 4u; r++) {
        if row + r < p.tokens && feature < p.width {
            put(in_packed(part, row + r, feature), feature, values[r]);
        }
    }
}

// Indices of four rows, the last one for those beyond it.
fn four_rows(row: u32) -> vec4<u32> {
    return min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.tokens - 1u));
}

@compute @workgroup_size(64)
fn queries(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = flat_group(group, groups);
    if number >= p.images * p.heads * p.parts * p.blocks { // the whole workgroup
        return;
    }
    let place = go_to(number, SIDE);
    let row = place.row + lane / 8u * 4u;
    let at = four_rows(row) + place.task * p.tokens;
    let l = vec4<f32>(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
    let d = vec4<f32>(delta[at.x], delta[at.y], delta[at.z], delta[at.w]);
    let two = p.width > place.feature + 32u;
    var low = mat4x4<f32>();
    var high = mat4x4<f32>();
    for (var key = 0u; key < p.tokens; key += SIDE) {
        let s = scores(lane, QUERIES, place.row, KEYS, key) * p.scale;
        let t = scores(lane, GRADIENTS, place.row, VALUES, key);
        var ds: mat4x4<f32>;
        for (var r = 0u; r < 4u; r++) {
            ds[r] = exp4(s[r] - l[r]) * (t[r] - d[r]) * p.scale;
        }
        share(lane, ds);
        low = weighted(lane, low, KEYS, key, place.feature);
        if two {
            high = weighted(lane, high, KEYS, key, place.feature + 32u);
        }
    }
    let feature = place.feature + lane % 8u * 4u;
    store(QUERIES, row, feature, low);
    if two {
        store(QUERIES, row, feature + 32u, high);
    }
}

@compute @workgroup_size(64)
fn keys(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = flat_group(group, groups);
    if number >= p.images * p.heads * p.parts * p.blocks { // the whole workgroup
        return;
    }
    let place = go_to(number, SIDE);
    let two = p.width > place.feature + 32u;
    var dk_low = mat4x4<f32>();
    var dk_high = mat4x4<f32>();
    var dv_low = mat4x4<f32>();
    var dv_high = mat4x4<f32>();
    for (var query = 0u; query < p.tokens; query += SIDE) {
        var s = scores(lane, KEYS, place.row, QUERIES, query) * p.scale;
        var t = scores(lane, VALUES, place.row, GRADIENTS, query);
        let at = four_rows(query + 4u * (lane % 8u)) + place.task * p.tokens;
        let l = vec4<f32>(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
        let d = vec4<f32>(delta[at.x], delta[at.y], delta[at.z], delta[at.w]);
        for (var r = 0u; r < 4u; r++) {
            s[r] = exp4(s[r] - l);
            t[r] = s[r] * (t[r] - d) * p.scale;
        }
        share(lane, s);
        dv_low = weighted(lane, dv_low, GRADIENTS, query, place.feature);
        if two {
            dv_high = weighted(lane, dv_high, GRADIENTS, query, place.feature + 32u);
        }
        share(lane, t);
        dk_low = weighted(lane, dk_low, QUERIES, query, place.feature);
        if two {
            dk_high = weighted(lane, dk_high, QUERIES, query, place.feature + 32u);
        }
    }
    let row = place.row + lane / 8u * 4u;
    let feature = place.feature + lane % 8u * 4u;
    store(KEYS, row, feature, dk_low);
    store(VALUES, row, feature, dv_low);
    if two {
        store(KEYS, row, feature + 32u, dk_high);
        store(VALUES, row, feature + 32u, dv_high);
    }
}
