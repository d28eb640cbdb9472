// Sums over rows of x: blocks of rows first, then the blocks.
//
// Mapping: part: one invocation per block of p.block rows and four columns, neighbours along the columns; total: one per
// column. Bytes: x read once, plus 2 / p.block of it for the blocks' sums.
// Order: rows of a block in order, then blocks in order: the same in every run.
// Tolerance: that of sums of p.block and of rows / p.block terms.
#include "index.wgsl"

struct Params {
    rows: u32, // part: of this launch; total: number of blocks
    width: u32,
    block: u32,
    first: u32, // part: number of the launch's first block
    add: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

override VEC: bool = false;

// Four elements of x from number `at`; where the width does not divide by four, one, in the first place.
fn load(at: u32) -> vec4<f32> {
    if VEC {
        return x[at >> 2u];
    }
    return vec4<f32>(x[at >> 2u][at & 3u], 0.0, 0.0, 0.0);
}

@compute @workgroup_size(64)
fn part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let each = select(1u, 4u, VEC);
    let wide = p.width / each;
    let i = flat_group(group, groups) * 64u + lane;
    let block = i / wide;
    if block * p.block >= p.rows {
        return;
    }
    let column = (i - block * wide) * each;
    var sum = vec4<f32>();
    for (var row = block * p.block; row < min((block + 1u) * p.block, p.rows); row++) {
        sum = sum + load(row * p.width + column);
    }
    let at = (p.first + block) * p.width + column;
    sums[at] = sum.x;
    if VEC {
        sums[at + 1u] = sum.y;
        sums[at + 2u] = sum.z;
        sums[at + 3u] = sum.w;
    }
}

// x: the blocks' sums [p.rows, p.width].
@compute @workgroup_size(64)
fn total(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = flat_group(group, groups) * 64u + lane;
    if column >= p.width {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < p.rows; row++) {
        let at = row * p.width + column;
        sum = sum + x[at >> 2u][at & 3u];
    }
    if p.add != 0u {
        sum = sums[column] + sum;
    }
    sums[column] = sum;
}
