// The gradients of layer normalisation, for lanes.wgsl or lanes.subgroup.wgsl, one of which the including file has included.
// rows: dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy weight, xhat = (x - mean) rstd, means over the row.
// blocks: dy xhat and dy summed over each block of rows. total: those of all blocks as dweight or dbias.
// dx, dweight and dbias are written or added.
//
// Mapping: rows as layer_norm_forward.wgsl: LANES neighbouring lanes per row. blocks: one invocation per block and part of a
// row (one or four columns); neighbours take neighbouring columns. total: one invocation per part of a row.
// Order of sums: in a row as layer_norm_forward.wgsl; a block's rows in order, then the blocks in order. The same bits in
// every run.
// Bytes: rows 8 read (16 if the row does not stay in the cache; 4 more where it adds), 4 written per element; blocks 8 read
// per element, 4 where only dbias is wanted.
// Tolerance: dx 4 ulp of the row's largest |g| rstd for rows of some hundred elements; dweight and dbias one rounding per row
// of a block and per block.
#include "index.wgsl"

struct Params {
    rows: u32,
    parts: u32, // of a row
    width: u32, // elements of a row
    block: u32, // rows of a block
    blocks: u32,
    first: u32, // for blocks: blocks of earlier parts, where the rows are divided
    which: u32, // for total: 0 the first sums (dweight), 1 the second (dbias)
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> dy: array<Part>;
@group(0) @binding(2) var<storage, read_write> x: array<Part>;
@group(0) @binding(3) var<storage, read_write> mean_of: array<f32>;
@group(0) @binding(4) var<storage, read_write> rstd_of: array<f32>;
@group(0) @binding(5) var<storage, read_write> weight: array<Part>; // rows only
@group(0) @binding(6) var<storage, read_write> dx: array<Part>; // rows only
@group(0) @binding(5) var<storage, read_write> block_sums: array<Part>; // [blocks, 2, parts]; blocks only
@group(0) @binding(1) var<storage, read_write> all_sums: array<Part>; // the same; total only
@group(0) @binding(2) var<storage, read_write> gradient: array<Part>; // dweight or dbias; total only

override ADD: bool = false;
override WEIGHT: bool = true; // whether dweight is wanted

@compute @workgroup_size(64)
fn rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * (64u / LANES) + lane / LANES;
    let first = lane % LANES;
    // Sums need all lanes: those beyond the last row compute it once more and write nothing.
    let here = min(row, p.rows - 1u);
    let start = here * p.parts;
    let mean = mean_of[here];
    let rstd = rstd_of[here];
    var sum_g = Part();
    var sum_gx = Part();
    for (var i = first; i < p.parts; i += LANES) {
        let g = dy[start + i] * weight[i];
        sum_g += g;
        sum_gx = fma(g, (x[start + i] - mean) * rstd, sum_gx);
    }
    let mean_g = lanes_sum(lane, part_sum(sum_g)) / f32(p.width);
    let mean_gx = lanes_sum(lane, part_sum(sum_gx)) / f32(p.width);
    if row >= p.rows {
        return;
    }
    for (var i = first; i < p.parts; i += LANES) {
        let xhat = (x[start + i] - mean) * rstd;
        var d = rstd * (dy[start + i] * weight[i] - fma(xhat, Part(mean_gx), Part(mean_g)));
        if ADD {
            d += dx[start + i];
        }
        dx[start + i] = d;
    }
}

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
    let at = 2u * (p.first + block) * p.parts + column;
    block_sums[at] = d_weight;
    block_sums[at + p.parts] = d_bias;
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
        sum += all_sums[(2u * block + p.which) * p.parts + column];
    }
    if ADD {
        sum += gradient[column];
    }
    gradient[column] = sum;
}
