// How attention's kernels read and write four neighbouring features: one by one, any head width. The other version is
// attention_fours.wgsl.
@group(0) @binding(1) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(2) var<storage, read_write> d_out: array<f32>; // backward
@group(0) @binding(3) var<storage, read_write> result: array<f32>; // out or the gradient of qkv

override ADD: bool = false;

// Features of a row of the queries, keys, values or gradients of out, 0 beyond the last row or feature.
fn fetch(part: u32, row: u32, feature: u32) -> vec4<f32> {
    var four = vec4<f32>();
    if row >= p.tokens {
        return four;
    }
    let count = min(4u, p.width - min(feature, p.width));
    for (var e = 0u; e < count; e++) {
        if part == GRADIENTS {
            four[e] = d_out[in_plain(row, feature + e)];
        } else {
            four[e] = qkv[in_packed(part, row, feature + e)];
        }
    }
    return four;
}

// Writes or adds features from `feature` on, the first of which lies at `at`.
fn put(at: u32, feature: u32, values: vec4<f32>) {
    let count = min(4u, p.width - feature);
    for (var e = 0u; e < count; e++) {
        var one = values[e];
        if ADD {
            one = result[at + e] + one;
        }
        result[at + e] = one;
    }
}
