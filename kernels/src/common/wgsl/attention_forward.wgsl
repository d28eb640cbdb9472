// Attention, for attention.wgsl and attention_ones.wgsl or attention_fours.wgsl, which the including file has included.
// out = softmax(q k' scale) v per image and head; where KEEP says so, the logarithm of the sum of each row's exponentials.
// Any number of tokens, any head width.
//
// Mapping: a workgroup of 64 has 32 query rows of a head and 64 of its output features; it takes 32 keys at a time, see
// attention_tiles.wgsl. Softmax online: sums are scaled down where a later tile holds a larger score.
// Order of sums: attention_tiles.wgsl; each lane adds the exponentials of its columns, lanes in order at the end.
// Bytes: q read once (and once more per further 64 features), k and v once per 32 query rows, out written once.
// Tolerance: 3 ulp of the largest |v| times the square root of the keys, 16 ulp of the largest score.
#include "index.wgsl"
#include "math.wgsl"
#include "attention_tiles.wgsl"

@group(0) @binding(4) var<storage, read_write> lse: array<f32>;

override KEEP: bool = false;

var<workgroup> lanes: array<vec4<f32>, 64>;

// The largest score of each of a lane's four rows, over the 8 lanes that share them.
fn row_tops(lane: u32, s: mat4x4<f32>) -> vec4<f32> {
    let columns = transpose(s);
    lanes[lane] = larger(larger(columns[0], columns[1]), larger(columns[2], columns[3]));
    workgroupBarrier();
    let first = lane / 8u * 8u;
    var top = lanes[first];
    for (var i = 1u; i < 8u; i++) {
        top = larger(top, lanes[first + i]);
    }
    return top;
}

fn row_sums(lane: u32, partial: vec4<f32>) -> vec4<f32> {
    workgroupBarrier();
    lanes[lane] = partial;
    workgroupBarrier();
    let first = lane / 8u * 8u;
    var sum = lanes[first];
    for (var i = 1u; i < 8u; i++) {
        sum += lanes[first + i];
    }
    return sum;
}

fn scaled(rows: mat4x4<f32>, by: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(rows[0] * by.x, rows[1] * by.y, rows[2] * by.z, rows[3] * by.w);
}

fn store(row: u32, feature: u32, values: mat4x4<f32>) {
    for (var r = 0u; r < 4u; r++) {
        if row + r < p.tokens && feature < p.width {
            put(in_plain(row + r, feature), feature, values[r]);
        }
    }
}

@compute @workgroup_size(64)
fn main(
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
    var low = mat4x4<f32>();
    var high = mat4x4<f32>();
    var top = vec4<f32>(LOWEST);
    var sum = vec4<f32>();
    for (var key = 0u; key < p.tokens; key += SIDE) {
        let there = present(key + 4u * (lane % 8u));
        var s = scores(lane, QUERIES, place.row, KEYS, key) * p.scale;
        for (var r = 0u; r < 4u; r++) {
            s[r] = select(vec4<f32>(LOWEST), s[r], there);
        }
        let next = larger(top, row_tops(lane, s));
        let shrink = exp4(top - next);
        top = next;
        for (var r = 0u; r < 4u; r++) {
            // Selected, since next is LOWEST too where all scores are -inf: the sum must be 0 then.
            s[r] = select(vec4<f32>(), exp4(s[r] - next[r]), there);
        }
        let columns = transpose(s);
        sum = fma(sum, shrink, (columns[0] + columns[1]) + (columns[2] + columns[3]));
        share(lane, s);
        low = weighted(lane, scaled(low, shrink), VALUES, key, place.feature);
        if two {
            high = weighted(lane, scaled(high, shrink), VALUES, key, place.feature + 32u);
        }
    }
    sum = row_sums(lane, sum);
    let row = place.row + lane / 8u * 4u;
    let feature = place.feature + lane % 8u * 4u;
    store(row, feature, scaled(low, 1.0 / sum));
    if two {
        store(row, feature + 32u, scaled(high, 1.0 / sum));
    }
    if KEEP && place.feature == 0u && lane % 8u == 0u {
        for (var r = 0u; r < 4u; r++) {
            if row + r < p.tokens {
                lse[place.task * p.tokens + row + r] = top[r] + log_(sum[r]);
            }
        }
    }
}
