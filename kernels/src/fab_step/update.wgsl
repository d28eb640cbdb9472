// One step of the Fast Adaptive Boundary attack, per sample: mod.rs has the rule, fab_look the columns of a row.
//
// Mapping: one workgroup of 64 per sample, lane l elements l, l + 64, .. Bytes per element: 12 read in each of some ten passes, mostly
// from a cache, 4 written. Order of sums: a lane adds its elements in order, then as reduce_sum.
// Tolerance: sums within a few units in the last place times log2 of the elements; where the plane is nearly out of reach, those of the
// sums over the room that is left.
#include "index.wgsl"
#include "attack.wgsl"
#include "progress.wgsl"
#include "ball_norm.wgsl"

struct Params {
    samples: u32, // of this part
    first: u32, // the part's first sample
    width: u32, // elements of a sample
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> delta: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> differences: array<f32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> progress: array<f32>;

const COLUMNS = 4u;
const ROUNDS = 200u;

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

var<workgroup> decision: u32;

// What lane 0 says, for all lanes: a value that a browser knows to be the same for all, as barriers need it.
fn agreed(lane: u32, says: bool) -> bool {
    if lane == 0u {
        decision = select(0u, 1u, says);
    }
    return workgroupUniformLoad(&decision) == 1u;
}

// How far to go so that f changes by plane.by: the root t of sum |w| min(t r, room) = by; to all walls where there is not so
// much room.
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
        if goes {
            t = next;
        }
        if !agreed(lane.index, goes) {
            break;
        }
    }
    return t;
}

fn length_of(lane: Lane, plane: Plane, t: f32) -> f32 {
    var extent = Extent();
    for (var i = lane.start; i < lane.end; i += 64u) {
        extent = with_element(extent, select(min(room_at(plane, i), t * rate_at(i)), 0.0, w[i] == 0.0));
    }
    return ball_norm(lane.index, extent);
}

fn way_at(plane: Plane, t: f32, i: u32) -> f32 {
    let way = min(room_at(plane, i), t * rate_at(i));
    let signed = select(-way, way, (w[i] > 0.0) == plane.up);
    return select(signed, 0.0, w[i] == 0.0);
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
    if !agreed(index, progress[(p.first + sample) * COLUMNS + STATUS] == RUNNING) {
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
