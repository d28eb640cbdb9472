// The bookkeeping of Auto-PGD, per sample: mod.rs has the columns of a row and the rule.
//
// Mapping: one invocation per sample, workgroups of 64. Bytes per sample: 56 read, 48 written. Tolerance: exact.
#include "index.wgsl"
#include "math.wgsl"
#include "progress.wgsl"

const COLUMNS = 12u;
const ETA = 3u;
const PERIOD = 4u;
const SINCE = 5u;
const RAISED = 6u;
const HALVED = 7u;
const LARGEST = 8u;
const AT_CHECKPOINT = 9u;
const BEFORE = 10u;
const ACTION = 11u;
const BEST = 1u;
const FOOLS = 2u;
const STEP = 4u;
const BACK = 8u;

struct Params {
    rows: u32,
    steps: u32,
    rho: f32,
    shorter: u32, // than the period before
    shortest: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> progress: array<f32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> margins: array<f32>;

override STOP: bool = true; // once misclassified

fn greater(a: f32, b: f32) -> bool {
    return a > b && !is_nan(a) && !is_nan(b);
}

// Whether the step length of the row at `at` is halved.
fn at_checkpoint(at: u32) -> bool {
    let period = progress[at + PERIOD];
    let largest = progress[at + LARGEST];
    let oscillates = progress[at + RAISED] <= p.rho * period;
    let stands_still = progress[at + HALVED] == 0.0 && progress[at + AT_CHECKPOINT] >= largest;
    let halves = oscillates || stands_still;
    progress[at + HALVED] = select(0.0, 1.0, halves);
    progress[at + AT_CHECKPOINT] = largest;
    progress[at + SINCE] = 0.0;
    progress[at + RAISED] = 0.0;
    progress[at + PERIOD] = max(period - f32(p.shorter), f32(p.shortest));
    if halves {
        progress[at + ETA] *= 0.5;
    }
    return halves;
}

// What to do with the iterate, but for the step.
fn judge(at: u32, loss: f32) -> u32 {
    if progress[at + STEPS] == 0.0 {
        progress[at + LARGEST] = loss;
        progress[at + AT_CHECKPOINT] = loss;
        return BEST;
    }
    var action = 0u;
    if greater(loss, progress[at + BEFORE]) {
        progress[at + RAISED] += 1.0;
    }
    progress[at + BEFORE] = loss;
    if greater(loss, progress[at + LARGEST]) {
        progress[at + LARGEST] = loss;
        action |= BEST;
    }
    let since = progress[at + SINCE] + 1.0;
    progress[at + SINCE] = since;
    if since == progress[at + PERIOD] {
        if at_checkpoint(at) {
            action |= BACK;
        }
    }
    return action;
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
    let at = i * COLUMNS;
    if progress[at + STATUS] != RUNNING {
        progress[at + ACTION] = 0.0;
        return;
    }
    let fools = greater(margins[i], 0.0);
    var action = judge(at, losses[i]) | select(0u, FOOLS, fools);
    if STOP && fools {
        progress[at + STATUS] = FOOLED;
    } else if progress[at + STEPS] == f32(p.steps) {
        progress[at + STATUS] = SPENT;
    } else {
        progress[at + STEPS] += 1.0;
        action |= STEP;
    }
    progress[at + ACTION] = f32(action);
}
