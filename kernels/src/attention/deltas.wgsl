// D = rowsum(do out) of each image, head and token: what the gradient of attention subtracts from each row of do v'.
//
// Mapping: one invocation per row of a head, workgroups of 64. Order of sums: features in order, one fused multiply-add each.
// Bytes: 8 read per element, 4 written per row. Tolerance: that of such a sum.
#include "index.wgsl"
#include "attention.wgsl"

@group(0) @binding(1) var<storage, read_write> d_out: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> delta: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.images * p.heads * p.tokens {
        return;
    }
    go_to(i / p.tokens * p.blocks * p.parts, 0u);
    let start = in_plain(i % p.tokens, 0u);
    var sum = 0.0;
    for (var at = start; at < start + p.width; at++) {
        sum = fma(d_out[at], out[at], sum);
    }
    delta[i] = sum;
}
