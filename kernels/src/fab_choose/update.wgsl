// The nearest of several decision boundaries, per sample: mod.rs has the rule.
//
// Mapping: one workgroup of 64 per sample, lane l elements l, l + 64, .. Bytes per element: 4 read, or 8 and 4 written. Order of sums: a
// lane adds its elements in order, then as reduce_sum. Tolerance: sums within a few units in the last place times log2 of the elements.
#include "index.wgsl"
#include "row_norm.wgsl"

struct Params {
    samples: u32, // of this part
    first: u32, // the part's first sample
    width: u32, // elements of a sample
    label: u32, // the class
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> kept: array<f32>;
@group(0) @binding(2) var<storage, read_write> kept_difference: array<f32>;
@group(0) @binding(3) var<storage, read_write> nearest: array<f32>; // distances
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> difference: array<f32>;
@group(0) @binding(6) var<storage, read_write> labels: array<i32>;

override SQUARE: bool = false; // L2, else Linf

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let sample = flat_group(group, groups);
    if sample >= p.samples { // the whole workgroup
        return;
    }
    let start = sample * p.width + lane;
    let end = (sample + 1u) * p.width;
    var sum = 0.0;
    var squares = vec2<f32>();
    for (var i = start; i < end; i += 64u) {
        sum += abs(gradient[i]);
        squares = with_square(squares, gradient[i]);
    }
    var norm = row_norm(lane, squares);
    sum = reduce_sum(lane, sum);
    norm = select(sum, norm, SQUARE);
    let number = p.first + sample;
    let found = abs(difference[number]) / (norm + 1e-12);
    let before = select(nearest[number], 1e30, p.label == 0u);
    workgroupBarrier(); // all have read the distance
    let nearer = u32(labels[number]) != p.label && found < before && !is_nan(found);
    if nearer {
        for (var i = start; i < end; i += 64u) {
            kept[i] = gradient[i];
        }
    }
    if lane == 0u {
        nearest[number] = select(before, found, nearer);
        kept_difference[number] = select(kept_difference[number], difference[number], nearer);
    }
}
