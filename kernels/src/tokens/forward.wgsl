// y = concat(prefix, patches + noise) + position, the prefix being up to three inputs of some tokens each.
//
// Mapping: one invocation per element of y, workgroups of 64. Bytes per element: 4 read for each part that reaches it, 4
// written. Tolerance: one rounding per addition.
#include "index.wgsl"

struct Params {
    count: u32, // elements of y
    n: u32,
    d: u32,
    ends: vec3<u32>, // the token behind each input of the prefix
    noise: u32, // from one sample's noise to the next one's: 0 where they share it
    position: u32, // the first token that the position embedding reaches
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> patches: array<f32>;
@group(0) @binding(2) var<storage, read_write> first: array<f32>;
@group(0) @binding(3) var<storage, read_write> second: array<f32>;
@group(0) @binding(4) var<storage, read_write> third: array<f32>;
@group(0) @binding(5) var<storage, read_write> position: array<f32>;
@group(0) @binding(6) var<storage, read_write> noise: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

override POSITION: bool = false;
override NOISE: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    let row = i / p.d;
    let column = i - row * p.d;
    let sample = row / p.n;
    let token = row - sample * p.n;
    var value: f32;
    if token < p.ends.x {
        value = first[token * p.d + column];
    } else if token < p.ends.y {
        value = second[(token - p.ends.x) * p.d + column];
    } else if token < p.ends.z {
        value = third[(token - p.ends.y) * p.d + column];
    } else {
        let at = (token - p.ends.z) * p.d + column;
        value = patches[sample * ((p.n - p.ends.z) * p.d) + at];
        if NOISE {
            value += noise[sample * p.noise + at];
        }
    }
    if POSITION {
        if token >= p.position {
            value += position[(token - p.position) * p.d + column];
        }
    }
    y[i] = value;
}
