// Layer normalisation for lanes.wgsl or lanes.subgroup.wgsl, one of which the including file has included.
// y = xhat weight + bias, xhat = (x - mean) rstd, rstd = 1 / sqrt(mean square of (x - mean) + eps), row by row. Writes mean
// and rstd of each row where KEEP says so.
//
// Mapping: LANES neighbouring lanes per row, 64 / LANES rows per workgroup of 64; a lane takes parts lane, lane + LANES, ...
// of its row, of one or four elements each. Three passes over the row: all but the first find it in the nearest cache.
// Order of sums: a lane's parts in order (for four elements four sums, added in pairs), then over the lanes as the file for
// lanes says.
// Bytes: 4 read (12 if the row does not stay in the cache), 4 written per element; weight and bias once per row.
// Tolerance: 4 ulp of the largest |xhat weight| + |bias| for rows of some hundred elements, whatever their mean: it is
// subtracted before squaring.
#include "index.wgsl"

struct Params {
    rows: u32,
    parts: u32, // of a row
    width: u32, // elements of a row
    eps: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Part>;
@group(0) @binding(2) var<storage, read_write> weight: array<Part>;
@group(0) @binding(3) var<storage, read_write> bias: array<Part>;
@group(0) @binding(4) var<storage, read_write> y: array<Part>;
@group(0) @binding(5) var<storage, read_write> mean_of: array<f32>;
@group(0) @binding(6) var<storage, read_write> rstd_of: array<f32>;

override KEEP: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = flat_group(group, groups) * (64u / LANES) + lane / LANES;
    let first = lane % LANES;
    // Sums need all lanes: those beyond the last row compute it once more and write nothing.
    let start = min(row, p.rows - 1u) * p.parts;
    var sum = Part();
    for (var i = first; i < p.parts; i += LANES) {
        sum += x[start + i];
    }
    let mean = lanes_sum(lane, part_sum(sum)) / f32(p.width);
    var squares = Part();
    for (var i = first; i < p.parts; i += LANES) {
        let centred = x[start + i] - mean;
        squares = fma(centred, centred, squares);
    }
    let rstd = 1.0 / sqrt(lanes_sum(lane, part_sum(squares)) / f32(p.width) + p.eps);
    if row >= p.rows {
        return;
    }
    for (var i = first; i < p.parts; i += LANES) {
        y[start + i] = fma((x[start + i] - mean) * rstd, weight[i], bias[i]);
    }
    if KEEP && first == 0u {
        mean_of[row] = mean;
        rstd_of[row] = rstd;
    }
}
