// dx = dy if the gate is open, else 0; written or added. It is open where one uniform value is at most q; not where q is NaN.
//
// choose: one invocation draws. main: one per four elements, workgroups of 64. Bytes: 4 read (8 where it adds), 4 written
// per element. Tolerance: exact, or one rounding where it adds.
#include "math.wgsl"
#include "philox.wgsl"
#include "quad.wgsl"

struct Params {
    count: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: vec4<u32>;
@group(0) @binding(2) var<storage, read_write> keep: array<f32>;
@group(0) @binding(3) var<storage, read_write> open: array<u32>;
@group(0) @binding(4) var<storage, read_write> dy: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>; // dx

override ADD: bool = false;

@compute @workgroup_size(1)
fn choose() {
    let u = uniform_of(philox_word(state, p.stream, 0u, 0u));
    open[0] = select(0u, 1u, u <= keep[0] && !is_nan(keep[0]));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if 4u * i >= p.count {
        return;
    }
    // Selected, not multiplied: a closed gate stops NaN and infinity too.
    let is_open = open[0] != 0u;
    if ADD {
        put_quad(i, p.count, select(y[i], y[i] + dy[i], is_open));
    } else {
        put_quad(i, p.count, select(vec4<f32>(), dy[i], is_open));
    }
}
