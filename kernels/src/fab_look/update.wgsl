// What becomes of an iterate of the Fast Adaptive Boundary attack, per sample: mod.rs has the rule and the columns of a row.
//
// Mapping: one workgroup of 64 per sample, lane l elements l, l + 64, .. Bytes per element: up to 8 read and 8 written. Order of sums: as
// ball_norm.wgsl says. Tolerance: norms within a few units in the last place times log2 of the elements, else one rounding.
#include "index.wgsl"
#include "progress.wgsl"
#include "ball_norm.wgsl"

struct Params {
    samples: u32, // of this part
    first: u32, // the part's first sample
    width: u32, // elements of a sample
    steps: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;
@group(0) @binding(2) var<storage, read_write> nearest: array<f32>;
@group(0) @binding(3) var<storage, read_write> progress: array<f32>;
@group(0) @binding(4) var<storage, read_write> margins: array<f32>;

override STOP: bool = true; // once within eps

const COLUMNS = 4u;
const NEAREST = 3u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = flat_group(group, groups);
    if part >= p.samples { // the whole workgroup
        return;
    }
    let start = part * p.width + lane;
    let end = (part + 1u) * p.width;
    var extent = Extent();
    for (var i = start; i < end; i += 64u) {
        extent = with_element(extent, delta[i]);
    }
    let length = ball_norm(lane, extent);
    let sample = p.first + part;
    let at = sample * COLUMNS;
    let before = progress[at + NEAREST];
    let runs = progress[at + STATUS] == RUNNING;
    storageBarrier(); // all have read the row
    if !runs {
        return;
    }
    let fools = margins[sample] > 0.0 && !is_nan(margins[sample]);
    let nearer = fools && length < before;
    for (var i = start; i < end; i += 64u) {
        if nearer {
            nearest[i] = delta[i];
        }
        if fools {
            delta[i] = 0.9 * delta[i];
        }
    }
    if lane > 0u {
        return;
    }
    let least = select(before, length, nearer);
    let taken = progress[at + STEPS] + 1.0;
    let spent = taken == f32(p.steps);
    if least <= progress[at + EPS] && (STOP || spent) {
        progress[at + STATUS] = FOOLED;
    } else if spent {
        progress[at + STATUS] = SPENT;
    }
    progress[at + STEPS] = taken;
    progress[at + NEAREST] = least;
}
