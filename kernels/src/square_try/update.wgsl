// A proposal of the Square Attack, per sample: mod.rs has the rule, the words that are drawn and the columns of a row.
//
// Mapping: linf one invocation per element; l2 one workgroup of 64 per sample. Bytes per element: linf 8 read, 4 written; l2 three
// times as many. Order of sums (l2): a lane adds its elements in order, then as reduce_sum.
// Tolerance: linf one rounding per operation; l2 sums within a few units in the last place times log2 of the elements.
#include "index.wgsl"
#include "attack.wgsl"
#include "philox.wgsl"
#include "progress.wgsl"
#include "reduce.wgsl"

struct Params {
    stream: u32,
    shared_draws: u32, // all samples take those of sample 0
    samples: u32,
    channels: u32,
    height: u32,
    width: u32,
    tile: u32, // side of a tile of the first proposal,
    start: u32, // first row and column of tiles,
    down: u32, // and their number
    across: u32,
    count: u32, // elements of the part (linf), samples (l2)
    first: u32, // the part's first element, or sample
    sides: array<vec4<u32>, 3>,
    offsets: array<vec4<u32>, 3>,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> trial: array<f32>;
@group(0) @binding(2) var<storage, read_write> best: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;
@group(0) @binding(5) var<storage, read_write> progress: array<f32>;
@group(0) @binding(6) var<storage, read_write> state: vec4<u32>;
@group(0) @binding(7) var<storage, read_write> pyramids: array<f32>;

const COLUMNS = 4u;
const SIGNS = 8u;
const FIRST = 16u;

fn phase_of(i: u32) -> u32 {
    var phase = 0u;
    phase += select(0u, 1u, i > 10u) + select(0u, 1u, i > 50u) + select(0u, 1u, i > 200u);
    phase += select(0u, 1u, i > 500u) + select(0u, 1u, i > 1000u) + select(0u, 1u, i > 2000u);
    return phase + select(0u, 1u, i > 4000u) + select(0u, 1u, i > 6000u) + select(0u, 1u, i > 8000u);
}

// The draws of one proposal of one sample.
struct Proposal {
    state: vec4<u32>,
    id: u32,
}

fn proposal_of(sample: u32, judged: u32) -> Proposal {
    return Proposal(vec4<u32>(state.x, state.y, judged, 0u), select(ids[sample], 0u, p.shared_draws == 1u));
}

fn word_at(drawn: Proposal, at: u32) -> u32 {
    let block = philox_block(drawn.state, p.stream, drawn.id, at / 4u);
    return block[at % 4u];
}

fn bit_at(drawn: Proposal, at: u32) -> bool {
    return (word_at(drawn, at) >> 31u) == 1u;
}

fn sign_at(drawn: Proposal, at: u32) -> f32 {
    return select(-1.0, 1.0, bit_at(drawn, at));
}

fn place_at(drawn: Proposal, at: u32, size: u32, side: u32) -> u32 {
    return u32(uniform_of(word_at(drawn, at)) * f32(size - side));
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
    let element = p.first + i;
    let plane = p.height * p.width;
    let sample = element / (plane * p.channels);
    let channel = element / plane % p.channels;
    let row = element / p.width % p.height;
    let column = element % p.width;
    let eps = progress[sample * COLUMNS + EPS];
    let judged = u32(progress[sample * COLUMNS + STEPS]);
    let drawn = proposal_of(sample, judged);
    if judged == 0u {
        trial[i] = into_box(eps * sign_at(drawn, FIRST + channel * p.width + column), x[i]);
        return;
    }
    let phase = phase_of(judged - 1u);
    let side = p.sides[phase / 4u][phase % 4u];
    let top = place_at(drawn, 0u, p.height, side);
    let left = place_at(drawn, 1u, p.width, side);
    if row - top >= side || column - left >= side { // unsigned: also above and left of it
        trial[i] = best[i];
        return;
    }
    let value = best[i] + eps * sign_at(drawn, SIGNS + channel) * 2.0;
    trial[i] = into_box(within(value, -eps, eps), x[i]);
}

struct Window {
    top: u32,
    left: u32,
    side: u32,
}

fn has(window: Window, row: u32, column: u32) -> bool {
    return row - window.top < window.side && column - window.left < window.side;
}

fn turned(row: u32, column: u32, side: u32, transposed: bool) -> u32 {
    return select(row * side + column, column * side + row, transposed);
}

// The tiles of the first proposal, not scaled yet; gives the sum of their squares.
fn first_tiles(lane: u32, base: u32, drawn: Proposal) -> f32 {
    let plane = p.height * p.width;
    var squares = 0.0;
    for (var i = lane; i < plane * p.channels; i += 64u) {
        let row = i / p.width % p.height - p.start;
        let column = i % p.width - p.start;
        var value = 0.0;
        if row < p.down * p.tile && column < p.across * p.tile {
            let number = row / p.tile * p.across + column / p.tile;
            let transposed = bit_at(drawn, FIRST + p.down * p.across * p.channels + number);
            let shape = pyramids[turned(row % p.tile, column % p.tile, p.tile, transposed)];
            value = sign_at(drawn, FIRST + number * p.channels + i / plane) * shape;
        }
        trial[base + i] = value;
        squares = fma(value, value, squares);
    }
    return squares;
}

// What the planes of a later proposal share.
struct Move {
    to: Window,
    origin: Window, // the window that gives
    pyramid: u32, // its first element
    transposed: bool,
    spare: f32,
}

fn mixed(move_: Move, base: u32, sign: f32, old: f32, i: u32) -> f32 {
    let row = i / move_.to.side;
    let column = i % move_.to.side;
    let value = best[base + (move_.to.top + row) * p.width + move_.to.left + column];
    return sign * pyramids[move_.pyramid + turned(row, column, move_.to.side, move_.transposed)] + value * old;
}

// One plane of a later proposal, not scaled yet: the pyramid joins the window, whose budget is that of both windows and what is spare.
// Gives by how much the sum of squares grows.
fn move_window(lane: u32, base: u32, move_: Move, sign: f32) -> f32 {
    let plane = p.height * p.width;
    let side = move_.to.side;
    var there = 0.0;
    var either = 0.0;
    for (var i = lane; i < plane; i += 64u) {
        let value = best[base + i];
        let inside = has(move_.to, i / p.width, i % p.width);
        let gives = has(move_.origin, i / p.width, i % p.width);
        there = select(there, fma(value, value, there), inside);
        either = select(either, fma(value, value, either), inside || gives);
        trial[base + i] = select(value, 0.0, gives && !inside);
    }
    there = reduce_sum(lane, there);
    either = reduce_sum(lane, either);
    let old = 1.0 / (sqrt(there) + 1e-12);
    var squares = 0.0;
    for (var i = lane; i < side * side; i += 64u) {
        let value = mixed(move_, base, sign, old, i);
        squares = fma(value, value, squares);
    }
    squares = reduce_sum(lane, squares);
    storageBarrier(); // all of the plane is written
    let factor = sqrt(move_.spare + either) / (sqrt(squares) + 1e-12);
    for (var i = lane; i < side * side; i += 64u) {
        let at = base + (move_.to.top + i / side) * p.width + move_.to.left + i % side;
        trial[at] = mixed(move_, base, sign, old, i) * factor;
    }
    return squares * factor * factor - either;
}

fn later(lane: u32, base: u32, drawn: Proposal, judged: u32, eps: f32) -> f32 {
    let plane = p.height * p.width;
    let phase = phase_of(max(judged, 1u) - 1u);
    let side = p.sides[phase / 4u][phase % 4u];
    var squares = 0.0;
    for (var i = lane; i < plane * p.channels; i += 64u) {
        squares = fma(best[base + i], best[base + i], squares);
    }
    squares = reduce_sum(lane, squares);
    let to = Window(place_at(drawn, 0u, p.height, side), place_at(drawn, 1u, p.width, side), side);
    let origin = Window(place_at(drawn, 2u, p.height, side), place_at(drawn, 3u, p.width, side), side);
    let spare = max(eps * eps - squares, 0.0) / f32(p.channels);
    let move_ = Move(to, origin, p.offsets[phase / 4u][phase % 4u], bit_at(drawn, 4u), spare);
    // Sides differ between samples: what a browser can't see is that they don't between the lanes of one.
    for (var channel = 0u; channel < p.channels; channel++) {
        squares += move_window(lane, base + channel * plane, move_, sign_at(drawn, SIGNS + channel));
    }
    return squares;
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
    let number = p.first + sample;
    let volume = p.height * p.width * p.channels;
    let base = sample * volume;
    let eps = progress[number * COLUMNS + EPS];
    let judged = u32(progress[number * COLUMNS + STEPS]);
    let drawn = proposal_of(number, judged);
    // Both are computed, so that all barriers are reached by all; tiles are written last where they are wanted.
    var squares = later(lane, base, drawn, judged, eps);
    storageBarrier();
    var tiles = 0.0;
    if judged == 0u {
        tiles = first_tiles(lane, base, drawn);
    }
    tiles = reduce_sum(lane, tiles);
    squares = select(max(squares, 0.0), tiles, judged == 0u);
    storageBarrier();
    let factor = eps / (sqrt(squares) + 1e-12);
    for (var i = lane; i < volume; i += 64u) {
        trial[base + i] = into_box(trial[base + i] * factor, x[base + i]);
    }
}
