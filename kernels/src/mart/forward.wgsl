// loss = -log q_y - log(1.0001 - q_k + 1e-12) + beta K (1.0000001 - p_y) per row, p = softmax(a), q = softmax(b), k the most
// probable class of q but y, K = sum_j p_j (log p_j - log(q_j + 1e-12)). A label that names no class can't be reported
// from here: its loss is NaN.
//
// K is summed as kl_divergence does, less p log(1 + floor / q).
//
// Mapping: one invocation per row, workgroups of 64. Bytes per row: 48 k read, 4 written. Order: rows.wgsl; blocks of 16
// columns. Tolerance: see pair.wgsl; relative error of some 1e-6.
#include "index.wgsl"
#include "mart.wgsl"

struct Params {
    rows: u32,
    classes: u32,
    beta: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<i32>;
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;

// p (r - 1) + q of column k, r = log p - log(q + floor).
fn term(pair: Pair, k: u32) -> f32 {
    let share = factor_of(pair.p, a[pair.start + k]);
    let other = p_of(pair.q, b[pair.start + k]);
    if other >= FLOOR {
        return surplus(pair, k) - share * log1p_(FLOOR / other);
    }
    return select(fma(share, floored_ratio(pair, k) - 1.0, other), other, share == 0.0);
}

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
    let label = u32(y[i]);
    if label >= p.classes {
        loss[i] = nan();
        return;
    }
    let pair = pair_of(i * p.classes, p.classes);
    var divergence = 0.0;
    for (var block = 0u; block < p.classes; block += BLOCK) {
        var sum = 0.0;
        for (var k = block; k < min(block + BLOCK, p.classes); k++) {
            sum += term(pair, k);
        }
        divergence += sum;
    }
    let other = wrong_class(pair, p.classes, label);
    var boost = -log1p_(1e-4 - p_of(pair.q, b[pair.start + other]));
    if certain(pair.q, other) {
        boost = -log_(1e-4 + tail(pair.q));
    }
    let plain = -log_p(pair.q, label, b[pair.start + label], pair.q_shift);
    loss[i] = (plain + boost) + p.beta * (divergence * weight_of(pair, label));
}
