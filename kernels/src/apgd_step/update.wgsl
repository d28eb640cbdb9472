// The step of Auto-PGD, per sample: mod.rs has the rule, apgd_check the columns of a row.
//
// Mapping: linf one invocation per element; l2 one workgroup of 64 per sample, lane l elements l, l + 64, .. Bytes per element: up
// to 20 read and 20 written, in L2 four times as many read. Order of sums: a lane adds its elements in order, then as norm.wgsl says
// of lanes. Tolerance: linf one rounding per operation; l2 norms within a few units in the last place times log2 of the elements.
#include "index.wgsl"
#include "attack.wgsl"
#include "progress.wgsl"
#include "row_norm.wgsl"

struct Params {
    count: u32, // elements of the part (linf), samples (l2)
    first: u32, // the part's first element, or sample
    width: u32, // elements of a sample
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;
@group(0) @binding(2) var<storage, read_write> before: array<f32>;
@group(0) @binding(3) var<storage, read_write> best: array<f32>;
@group(0) @binding(4) var<storage, read_write> best_gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> fooling: array<f32>;
@group(0) @binding(6) var<storage, read_write> g: array<f32>;
@group(0) @binding(7) var<storage, read_write> x: array<f32>;
@group(0) @binding(8) var<storage, read_write> progress: array<f32>;

const COLUMNS = 12u;
const ETA = 3u;
const ACTION = 11u;
const BEST = 1u;
const FOOLS = 2u;
const STEP = 4u;
const BACK = 8u;

struct Row {
    eps: f32,
    eta: f32,
    share: f32, // of the new step
    action: u32,
}

fn row_of(sample: u32) -> Row {
    let at = sample * COLUMNS;
    let share = select(0.75, 1.0, progress[at + STEPS] == 1.0);
    var action = u32(progress[at + ACTION]);
    if (action & STEP) == 0u {
        action &= ~BACK; // nothing starts from there
    }
    return Row(progress[at + EPS], progress[at + ETA], share, action);
}

fn has(row: Row, bit: u32) -> bool {
    return (row.action & bit) != 0u;
}

// Keeps what is to be kept of element i; delta becomes where the step starts.
fn begin(row: Row, i: u32) {
    if has(row, FOOLS) {
        fooling[i] = delta[i];
    }
    if has(row, BEST) {
        best[i] = delta[i];
        best_gradient[i] = g[i];
    }
    if has(row, BACK) {
        delta[i] = best[i];
    }
}

fn slope_at(row: Row, i: u32) -> f32 {
    if has(row, BACK) {
        return best_gradient[i];
    }
    return g[i];
}

fn mixed(row: Row, here: f32, u: f32, i: u32) -> f32 {
    return here + (u - here) * row.share + (here - before[i]) * (1.0 - row.share);
}

@compute @workgroup_size(64)
fn linf(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    let row = row_of((p.first + i) / p.width);
    begin(row, i);
    if !has(row, STEP) {
        return;
    }
    let bits = bitcast<u32>(slope_at(row, i)); // bits: a subnormal gradient counts
    let magnitude = bits & 0x7fffffffu;
    let moves = magnitude > 0u && magnitude <= 0x7f800000u;
    let step = select(row.eta, -row.eta, bits != magnitude);
    let here = delta[i];
    let u = into_box(within(here + select(0.0, step, moves), -row.eps, row.eps), x[i]);
    delta[i] = into_box(within(mixed(row, here, u, i), -row.eps, row.eps), x[i]);
    before[i] = here;
}

fn moved(row: Row, factor: f32, i: u32) -> f32 {
    let here = delta[i];
    return select(here + factor * slope_at(row, i), here, factor == 0.0);
}

fn next(row: Row, factor: f32, shrink: f32, i: u32) -> f32 {
    return mixed(row, delta[i], into_box(moved(row, factor, i) * shrink, x[i]), i);
}

fn shrinking(length: f32, eps: f32) -> f32 {
    return min(length, eps) / (length + 1e-12);
}

@compute @workgroup_size(64)
fn l2(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let sample = flat_group(group, groups);
    if sample >= p.count { // the whole workgroup
        return;
    }
    let row = row_of(p.first + sample);
    let start = sample * p.width + lane;
    let end = (sample + 1u) * p.width;
    var sums = vec2<f32>();
    for (var i = start; i < end; i += 64u) {
        begin(row, i);
        sums = with_square(sums, slope_at(row, i));
    }
    let slope = row_norm(lane, sums);
    let factor = select(0.0, row.eta / (slope + 1e-12), is_finite(slope));
    sums = vec2<f32>();
    for (var i = start; i < end; i += 64u) {
        sums = with_square(sums, moved(row, factor, i));
    }
    let shrink = shrinking(row_norm(lane, sums), row.eps);
    sums = vec2<f32>();
    for (var i = start; i < end; i += 64u) {
        sums = with_square(sums, next(row, factor, shrink, i));
    }
    let again = shrinking(row_norm(lane, sums), row.eps);
    if !has(row, STEP) {
        return;
    }
    for (var i = start; i < end; i += 64u) {
        let here = delta[i];
        delta[i] = into_box(next(row, factor, shrink, i) * again, x[i]);
        before[i] = here;
    }
}
