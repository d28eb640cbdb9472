// How attention's kernels read and write four neighbouring features: as a vector, for head widths that are multiples of 4. The
// other version is attention_ones.wgsl.
@group(0) @binding(1) var<storage, read_write> qkv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> d_out: array<vec4<f32>>; // backward
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // out or the gradient of qkv

override ADD: bool = false;

// Features of a row of the queries, keys, values or gradients of out, 0 beyond the last row or feature.
fn fetch(part: u32, row: u32, feature: u32) -> vec4<f32> {
    if row >= p.tokens || feature >= p.width {
        return vec4<f32>();
    }
    if part == GRADIENTS {
        return d_out[in_plain(row, feature) / 4u];
    }
    return qkv[in_packed(part, row, feature) / 4u];
}

// Writes or adds features from `feature` on, the first of which lies at `at`.
fn put(at: u32, feature: u32, values: vec4<f32>) {
    var four = values;
    if ADD {
        four = result[at / 4u] + four;
    }
    result[at / 4u] = four;
}
