// blocks: dy xhat and dy summed over each block of rows. total: those of all blocks as dweight or dbias, written or added.
//
// Mapping: blocks: one invocation per block and part of a row (one or four columns); neighbours take neighbouring columns.
// total: one invocation per part of a row. Workgroups of 64.
// Order of sums: a block's rows in order, then the blocks in order: the same bits in every run.
// Bytes: blocks 8 read per element (4 where only dbias is wanted). Tolerance: one rounding per row of a block and per block.
#include "index.wgsl"
#include "part.wgsl"

struct Params {
    rows: u32,
    parts: u32, // of a row
    block: u32, // rows of a block
    blocks: u32,
    which: u32, // for total: 0 the first sums (dweight), 1 the second (dbias)
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> sums: array<Part>; // [blocks, 2, parts]
@group(0) @binding(2) var<storage, read_write> dy: array<Part>;
@group(0) @binding(3) var<storage, read_write> x: array<Part>;
@group(0) @binding(4) var<storage, read_write> mean_of: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstd_of: array<f32>;
@group(0) @binding(2) var<storage, read_write> gradient: array<Part>; // of weight or bias; total only

override WEIGHT: bool = true;
override ADD: bool = false;

@compute @workgroup_size(64)
fn blocks(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    let block = i / p.parts;
    let column = i % p.parts;
    if block >= p.blocks {
        return;
    }
    var d_weight = Part();
    var d_bias = Part();
    let end = min((block + 1u) * p.block, p.rows);
    for (var row = block * p.block; row < end; row++) {
        let d = dy[row * p.parts + column];
        d_bias += d;
        if WEIGHT {
            d_weight = fma(d, (x[row * p.parts + column] - mean_of[row]) * rstd_of[row], d_weight);
        }
    }
    sums[2u * block * p.parts + column] = d_weight;
    sums[(2u * block + 1u) * p.parts + column] = d_bias;
}

@compute @workgroup_size(64)
fn total(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = flat_group(group, groups) * 64u + lane;
    if column >= p.parts {
        return;
    }
    var sum = Part();
    for (var block = 0u; block < p.blocks; block++) {
        sum += sums[(2u * block + p.which) * p.parts + column];
    }
    if ADD {
        sum += gradient[column];
    }
    gradient[column] = sum;
}
