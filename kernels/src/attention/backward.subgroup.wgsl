// The gradient of attention, from the log-sum-exps l that forward kept; written or added. Per image and head:
// p = exp(q k' scale - l), D = rowsum(do out), ds = p (do v' - D) scale; dq = ds k, dk = ds' q, dv = p' do.
// For software drivers, any number of tokens, head widths 4 QUADS up to 64. queries comes first: it writes D.
//
// Mapping: as forward.subgroup.wgsl: 8 lanes take 8 query rows (for keys: 8 rows of keys and values), one per lane, in named
// vectors; the loop takes 8 keys (queries) at a time, one per lane, and spreads them by shuffles.
// Order of sums: over features and over keys (queries) in order, one fused multiply-add each.
// Bytes: queries: q, do and out read once, k and v once per 8 query rows, dq written once. keys: the same the other way round.
// Tolerance: 4 ulp of the largest |do| |v| |k| scale times the square root of the rows, and 16 ulp of the largest score.
#include "index.wgsl"
#include "math.wgsl"
#include "attention.wgsl"
#include "attention_fours.wgsl"
#include "attention_shuffles.wgsl"

@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<vec4<f32>>; // queries

@compute @workgroup_size(WIDTH)
fn queries(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) id: u32,
) {
    let start = flat_group(group, groups) * (WIDTH / 8u);
    if start >= count_of_groups() { // the whole workgroup
        return;
    }
    let place = go_to(min(start + id / 8u, count_of_groups() - 1u), 8u);
    let lane = id & 7u;
    let leader = id - lane;
    let row = place.row + lane;
    let here = min(row, p.tokens - 1u);
    let q_at = in_packed(QUERIES, here, 0u) / 4u;
    let g_at = in_plain(here, 0u) / 4u;
    let l = lse[place.task * p.tokens + here];
    var products = vec4<f32>();
    #repeat c 16
    var q${c} = vec4<f32>();
    var g${c} = vec4<f32>();
    var d${c} = vec4<f32>();
    if ${c}u < QUADS {
        q${c} = qkv[q_at + ${c}u];
        g${c} = d_out[g_at + ${c}u];
        products = fma(g${c}, out[g_at + ${c}u], products);
    }
    #end
    let row_delta = (products.x + products.y) + (products.z + products.w);
    for (var key = 0u; key < p.tokens; key += 8u) {
        let k_at = in_packed(KEYS, min(key + lane, p.tokens - 1u), 0u) / 4u;
        let v_at = in_packed(VALUES, min(key + lane, p.tokens - 1u), 0u) / 4u;
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var t0 = vec4<f32>();
        var t1 = vec4<f32>();
        #repeat c 16
        var k${c}: vec4<f32>;
        if ${c}u < QUADS {
            k${c} = qkv[k_at + ${c}u];
            let v = qkv[v_at + ${c}u];
            #repeat z 4
            s0 = fma(vec4<f32>(q${c}[${z}]), low_four(k${c}[${z}], leader), s0);
            s1 = fma(vec4<f32>(q${c}[${z}]), high_four(k${c}[${z}], leader), s1);
            t0 = fma(vec4<f32>(g${c}[${z}]), low_four(v[${z}], leader), t0);
            t1 = fma(vec4<f32>(g${c}[${z}]), high_four(v[${z}], leader), t1);
            #end
        }
        #end
        t0 = exp4(s0 * p.scale - l) * (t0 - row_delta) * p.scale;
        t1 = exp4(s1 * p.scale - l) * (t1 - row_delta) * p.scale;
        if key + 8u > p.tokens {
            t0 = select(vec4<f32>(), t0, present(key));
            t1 = select(vec4<f32>(), t1, present(key + 4u));
        }
        #repeat c 16
        if ${c}u < QUADS {
            #repeat z 4
            d${c} = fma(vec4<f32>(t0[${z}]), subgroupShuffle(k${c}, leader + ${z}u), d${c});
            #end
            #repeat z 4
            d${c} = fma(vec4<f32>(t1[${z}]), subgroupShuffle(k${c}, leader + 4u + ${z}u), d${c});
            #end
        }
        #end
    }
    if row >= p.tokens || start + id / 8u >= count_of_groups() {
        return;
    }
    delta[place.task * p.tokens + row] = row_delta;
    #repeat c 16
    if ${c}u < QUADS {
        put(4u * (q_at + ${c}u), ${c}u * 4u, d${c});
    }
    #end
}

@compute @workgroup_size(WIDTH)
fn keys(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) id: u32,
) {
    let start = flat_group(group, groups) * (WIDTH / 8u);
    if start >= count_of_groups() { // the whole workgroup
        return;
    }
    let place = go_to(min(start + id / 8u, count_of_groups() - 1u), 8u);
    let lane = id & 7u;
    let leader = id - lane;
    let row = place.row + lane;
    let k_at = in_packed(KEYS, min(row, p.tokens - 1u), 0u) / 4u;
    let v_at = in_packed(VALUES, min(row, p.tokens - 1u), 0u) / 4u;
    #repeat c 16
    var k${c} = vec4<f32>();
    var v${c} = vec4<f32>();
    var dk${c} = vec4<f32>();
    var dv${c} = vec4<f32>();
    if ${c}u < QUADS {
        k${c} = qkv[k_at + ${c}u];
        v${c} = qkv[v_at + ${c}u];
    }
    #end
    for (var query = 0u; query < p.tokens; query += 8u) {
        let there = min(query + lane, p.tokens - 1u);
        let q_at = in_packed(QUERIES, there, 0u) / 4u;
        let g_at = in_plain(there, 0u) / 4u;
        let l = lse[place.task * p.tokens + there];
        let d = delta[place.task * p.tokens + there];
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var t0 = vec4<f32>();
        var t1 = vec4<f32>();
        #repeat c 16
        var q${c}: vec4<f32>;
        var g${c}: vec4<f32>;
        if ${c}u < QUADS {
            q${c} = qkv[q_at + ${c}u];
            g${c} = d_out[g_at + ${c}u];
            #repeat z 4
            s0 = fma(vec4<f32>(k${c}[${z}]), low_four(q${c}[${z}], leader), s0);
            s1 = fma(vec4<f32>(k${c}[${z}]), high_four(q${c}[${z}], leader), s1);
            t0 = fma(vec4<f32>(v${c}[${z}]), low_four(g${c}[${z}], leader), t0);
            t1 = fma(vec4<f32>(v${c}[${z}]), high_four(g${c}[${z}], leader), t1);
            #end
        }
        #end
        s0 = exp4(s0 * p.scale - low_four(l, leader));
        s1 = exp4(s1 * p.scale - high_four(l, leader));
        t0 = s0 * (t0 - low_four(d, leader)) * p.scale;
        t1 = s1 * (t1 - high_four(d, leader)) * p.scale;
        if query + 8u > p.tokens {
            s0 = select(vec4<f32>(), s0, present(query));
            s1 = select(vec4<f32>(), s1, present(query + 4u));
            t0 = select(vec4<f32>(), t0, present(query));
            t1 = select(vec4<f32>(), t1, present(query + 4u));
        }
        #repeat c 16
        if ${c}u < QUADS {
            #repeat z 4
            dk${c} = fma(vec4<f32>(t0[${z}]), subgroupShuffle(q${c}, leader + ${z}u), dk${c});
            dv${c} = fma(vec4<f32>(s0[${z}]), subgroupShuffle(g${c}, leader + ${z}u), dv${c});
            #end
            #repeat z 4
            dk${c} = fma(vec4<f32>(t1[${z}]), subgroupShuffle(q${c}, leader + 4u + ${z}u), dk${c});
            dv${c} = fma(vec4<f32>(s1[${z}]), subgroupShuffle(g${c}, leader + 4u + ${z}u), dv${c});
            #end
        }
        #end
    }
    if row >= p.tokens || start + id / 8u >= count_of_groups() {
        return;
    }
    #repeat c 16
    if ${c}u < QUADS {
        put(4u * (k_at + ${c}u), ${c}u * 4u, dk${c});
        put(4u * (v_at + ${c}u), ${c}u * 4u, dv${c});
    }
    #end
}
