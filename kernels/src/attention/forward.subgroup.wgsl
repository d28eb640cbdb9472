// out = softmax(q k' scale) v per image and head; where KEEP says so, the logarithm of the sum of each row's exponentials. For
// software drivers, any number of tokens, head widths 4 QUADS up to 64.
//
// Mapping: a workgroup is one subgroup of WIDTH invocations; each 8 of them take 8 query rows of a head, one per lane, with
// query and output in named vectors. The loop takes 8 keys at a time, one per lane, and spreads them by shuffles, because a
// load costs a software driver a loop over the lanes. Softmax online, as in attention_forward.wgsl.
// Order of sums: over features and over keys in order, one fused multiply-add each; exponentials of 8 keys in pairs.
// Bytes: q read once, k and v once per 8 query rows, out written once.
// Tolerance: 3 ulp of the largest |v| times the square root of the keys, 16 ulp of the largest score.
#include "index.wgsl"
#include "math.wgsl"
#include "attention.wgsl"
#include "attention_fours.wgsl"
#include "attention_shuffles.wgsl"

@group(0) @binding(4) var<storage, read_write> lse: array<f32>;

override KEEP: bool = false;

@compute @workgroup_size(WIDTH)
fn main(
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
    let q_at = in_packed(QUERIES, min(row, p.tokens - 1u), 0u) / 4u;
    #repeat c 16
    var q${c} = vec4<f32>();
    var o${c} = vec4<f32>();
    if ${c}u < QUADS {
        q${c} = qkv[q_at + ${c}u];
    }
    #end
    var top = LOWEST;
    var sum = 0.0;
    for (var key = 0u; key < p.tokens; key += 8u) {
        // Lanes beyond the last key have the last one once more: its score is no new maximum, its weight is set to 0.
        let k_at = in_packed(KEYS, min(key + lane, p.tokens - 1u), 0u) / 4u;
        let v_at = in_packed(VALUES, min(key + lane, p.tokens - 1u), 0u) / 4u;
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        #repeat c 16
        if ${c}u < QUADS {
            let k = qkv[k_at + ${c}u];
            #repeat z 4
            s0 = fma(vec4<f32>(q${c}[${z}]), low_four(k[${z}], leader), s0);
            s1 = fma(vec4<f32>(q${c}[${z}]), high_four(k[${z}], leader), s1);
            #end
        }
        #end
        s0 = s0 * p.scale;
        s1 = s1 * p.scale;
        let most = larger(s0, s1);
        var next = top;
        #repeat z 4
        next = select(next, most[${z}], most[${z}] > next);
        #end
        let shrink = exp_(top - next);
        top = next;
        s0 = exp4(s0 - next);
        s1 = exp4(s1 - next);
        if key + 8u > p.tokens {
            s0 = select(vec4<f32>(), s0, present(key));
            s1 = select(vec4<f32>(), s1, present(key + 4u));
        }
        let pairs = s0 + s1;
        sum = fma(sum, shrink, (pairs.x + pairs.y) + (pairs.z + pairs.w));
        #repeat c 16
        if ${c}u < QUADS {
            let v = qkv[v_at + ${c}u];
            o${c} = o${c} * shrink;
            #repeat z 4
            o${c} = fma(vec4<f32>(s0[${z}]), subgroupShuffle(v, leader + ${z}u), o${c});
            #end
            #repeat z 4
            o${c} = fma(vec4<f32>(s1[${z}]), subgroupShuffle(v, leader + 4u + ${z}u), o${c});
            #end
        }
        #end
    }
    if row >= p.tokens || start + id / 8u >= count_of_groups() {
        return;
    }
    let at = in_plain(row, 0u);
    #repeat c 16
    if ${c}u < QUADS {
        put(at + ${c}u * 4u, ${c}u * 4u, o${c} * (1.0 / sum));
    }
    #end
    if KEEP {
        lse[place.task * p.tokens + row] = top + log_(sum);
    }
}
