// One step of the Fast Adaptive Boundary attack, per sample: mod.rs has the rule and the columns of a row.
//
// Mapping: one workgroup of 64 per sample, lane l elements l, l + 64, .. Bytes per element: 12 read in each of some ten passes, mostly
// from a cache, 4 or 8 written. Order of sums: a lane adds its elements in order, then as reduce_sum.
// Tolerance: sums within a few units in the last place times log2 of the elements; where the plane is nearly out of reach, those of the
// sums over the room that is left.
#include "index.wgsl"
#include "attack.wgsl"
#include "progress.wgsl"
#include "row_norm.wgsl"

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
@group(0) @binding(4) var<storage, read_write> w: array<f32>;
@group(0) @binding(5) var<storage, read_write> differences: array<f32>;
@group(0) @binding(6) var<storage, read_write> margins: array<f32>;
@group(0) @binding(7) var<storage, read_write> x: array<f32>;

override STOP: bool = true; // once within eps
override SQUARE: bool = false; // L2, else Linf

const COLUMNS = 5u;
const FRESH = 3u;
const NEAREST = 4u;
const ROUNDS = 200u;
const FAR = 3.0e38; // out of reach

// What a lane handles: elements start, start + 64, .. end of the buffers.
struct Lane {
    index: u32,
    start: u32,
    end: u32,
}

// A point, the clean image or the iterate, as seen from the plane.
struct Plane {
    moved: bool, // the iterate
    up: bool, // f has to rise
    by: f32,
}

fn point_at(plane: Plane, i: u32) -> f32 {
    return x[i] + select(0.0, delta[i], plane.moved);
}

// Distance of a pixel from the wall toward which it has to go.
fn room_at(plane: Plane, i: u32) -> f32 {
    let point = point_at(plane, i);
    return max(select(point, 1.0 - point, (w[i] > 0.0) == plane.up), 0.0);
}

fn rate_at(i: u32) -> f32 {
    return select(1.0, abs(w[i]), SQUARE);
}

fn lane_max(lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // an earlier result may still be read
    reduce_lanes[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half >> 1u) {
        if lane < half {
            reduce_lanes[lane] = max(reduce_lanes[lane], reduce_lanes[lane + half]);
        }
        workgroupBarrier();
    }
    return reduce_lanes[0];
}

var<workgroup> decision: u32;

// What lane 0 says, for all lanes: a value that a browser knows to be the same for all, as barriers need it.
fn agreed(lane: u32, says: bool) -> bool {
    if lane == 0u {
        decision = select(0u, 1u, says);
    }
    return workgroupUniformLoad(&decision) == 1u;
}

// How far to go so that f changes by plane.by: the root t of sum |w| min(t r, room) = by; FAR where there is not so much room.
fn reach(lane: Lane, plane: Plane) -> f32 {
    var t = 0.0;
    for (var round = 0u; round < ROUNDS; round++) {
        var free = 0.0;
        var filled = 0.0;
        for (var i = lane.start; i < lane.end; i += 64u) {
            let weight = abs(w[i]);
            let rate = rate_at(i);
            let room = room_at(plane, i);
            let saturated = room <= t * rate;
            free += select(weight * rate, 0.0, saturated);
            filled += select(0.0, weight * room, saturated);
        }
        free = reduce_sum(lane.index, free);
        filled = reduce_sum(lane.index, filled);
        let next = (plane.by - filled) / free;
        let goes = free > 0.0 && next > t && !is_nan(next);
        if free == 0.0 && filled < plane.by {
            t = FAR;
        } else if goes {
            t = next;
        }
        if !agreed(lane.index, goes) {
            break;
        }
    }
    return t;
}

fn length_of(lane: Lane, plane: Plane, t: f32) -> f32 {
    var most = 0.0;
    var sums = vec2<f32>();
    for (var i = lane.start; i < lane.end; i += 64u) {
        let way = select(min(room_at(plane, i), t * rate_at(i)), 0.0, w[i] == 0.0);
        most = max(most, way);
        sums = with_square(sums, way);
    }
    if SQUARE {
        return row_norm(lane.index, sums);
    }
    return lane_max(lane.index, most);
}

fn way_at(plane: Plane, t: f32, i: u32) -> f32 {
    let way = min(room_at(plane, i), t * rate_at(i));
    let signed = select(-way, way, (w[i] > 0.0) == plane.up);
    return select(signed, 0.0, w[i] == 0.0);
}

// Norm of the iterate.
fn distance(lane: Lane) -> f32 {
    var most = 0.0;
    var sums = vec2<f32>();
    for (var i = lane.start; i < lane.end; i += 64u) {
        most = max(most, abs(delta[i]));
        sums = with_square(sums, delta[i]);
    }
    if SQUARE {
        return row_norm(lane.index, sums);
    }
    return lane_max(lane.index, most);
}

// Keeps what is to be kept of the iterate; whether a step follows.
fn look(lane: Lane, sample: u32) -> bool {
    let at = sample * COLUMNS;
    let length = distance(lane);
    let runs = progress[at + STATUS] == RUNNING;
    let fresh = progress[at + FRESH] != 0.0;
    let taken = progress[at + STEPS] + 1.0;
    var least = progress[at + NEAREST];
    let eps = progress[at + EPS];
    workgroupBarrier(); // all have read the row
    if !runs {
        return false;
    }
    if fresh {
        if lane.index == 0u {
            progress[at + FRESH] = 0.0;
        }
        return true;
    }
    let margin = margins[sample];
    let fools = margin > 0.0 && !is_nan(margin);
    let nearer = fools && length < least;
    least = select(least, length, nearer);
    for (var i = lane.start; i < lane.end; i += 64u) {
        if nearer {
            nearest[i] = delta[i];
        }
        if fools {
            delta[i] = 0.9 * delta[i];
        }
    }
    let spent = taken == f32(p.steps);
    var status = select(RUNNING, SPENT, spent);
    if least <= eps && (STOP || spent) {
        status = FOOLED;
    }
    if lane.index == 0u {
        progress[at + STEPS] = taken;
        progress[at + STATUS] = status;
        progress[at + FRESH] = select(0.0, 1.0, fools);
        progress[at + NEAREST] = least;
    }
    return status == RUNNING && !fools;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let sample = flat_group(group, groups);
    if sample >= p.samples { // the whole workgroup
        return;
    }
    let lane = Lane(index, sample * p.width + index, (sample + 1u) * p.width);
    if !agreed(index, look(lane, p.first + sample)) {
        return;
    }
    var product = 0.0;
    for (var i = lane.start; i < lane.end; i += 64u) {
        product = fma(w[i], delta[i], product);
    }
    let difference = differences[p.first + sample];
    let from_x = difference - reduce_sum(index, product);
    let here = Plane(true, difference < 0.0, abs(difference));
    let there = Plane(false, from_x < 0.0, abs(from_x));
    let t1 = reach(lane, here);
    let t2 = reach(lane, there);
    let a1 = max(length_of(lane, here, t1), 1e-8);
    let a2 = max(length_of(lane, there, t2), 1e-8);
    let a = min(a1 / (a1 + a2), 0.1);
    for (var i = lane.start; i < lane.end; i += 64u) {
        let next = (delta[i] + 1.05 * way_at(here, t1, i)) * (1.0 - a) + 1.05 * way_at(there, t2, i) * a;
        delta[i] = into_box(next, x[i]);
    }
}
