// dx = rstd (g - mean(g) - xhat mean(g xhat)), g = dy weight, xhat = (x - mean) rstd, means over the row; written or added.
//
// Mapping and order of sums as forward.wgsl: LANES neighbouring lanes per row, 64 / LANES rows per workgroup of 64.
// Bytes: 8 read (16 if the row does not stay in the cache; 4 more where it adds), 4 written per element; weight once per row.
// Tolerance: 4 ulp of the row's largest |g| rstd for rows of some hundred elements.
#include "index.wgsl"
#include "lanes.wgsl"
#include "part.wgsl"

struct Params {
    rows: u32,
    parts: u32, // of a row
    width: u32, // elements of a row
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> x: array<Part>;
@group(0) @binding(2) var<storage, read_write> mean_of: array<f32>;
@group(0) @binding(3) var<storage, read_write> rstd_of: array<f32>;
@group(0) @binding(4) var<storage, read_write> dy: array<Part>;
@group(0) @binding(5) var<storage, read_write> weight: array<Part>;
@group(0) @binding(6) var<storage, read_write> dx: array<Part>;

override ADD: bool = false;

@compute @workgroup_size(64)
fn main(
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
