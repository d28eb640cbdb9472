// W = M + E for one matrix or several, one per sample: E from Philox under its law, M the identity or zero.
//
// Mapping: one invocation per four elements, workgroups of 64. Bytes: 4 written per element.
// Tolerance: noise has the CPU's bits; one rounding on the diagonal.
#include "index.wgsl"
#include "draws.wgsl"

struct Params {
    count: u32, // elements of this launch
    first: u32, // the first one's place among those of all samples
    width: u32, // elements of a matrix
    columns: u32,
    stream: u32,
    law: vec4<f32>,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: vec4<u32>;
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> normal_table: array<i32>;
@group(0) @binding(4) var<storage, read_write> w: array<f32>;

override BATCH: bool = false; // one matrix for all samples
override IDENTITY: bool = false;

fn sample_id(sample: u32) -> u32 {
    if BATCH {
        return 0u;
    }
    return ids[sample];
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = 4u * (flat_group(group, groups) * 64u + lane);
    if start >= p.count {
        return;
    }
    let count = min(p.count - start, 4u);
    let values = draws(p.first + start, count, p.width, p.stream, p.law);
    for (var i = 0u; i < count; i++) {
        let at = (p.first + start + i) % p.width;
        var value = values[i];
        if IDENTITY && at / p.columns == at % p.columns {
            value = value + 1.0;
        }
        w[start + i] = value;
    }
}
