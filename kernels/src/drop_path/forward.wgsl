// y = x / keep for samples that are kept, else 0; backward the same of dy, written or added.
//
// choose: one invocation per sample draws whether it is kept. main: one per four elements. Workgroups of 64.
// Bytes: 4 read (8 where it adds), 4 written per element. Tolerance: the choice has the CPU's bits; one rounding.
#include "quad.wgsl"
#include "philox.wgsl"

struct Params {
    count: u32, // elements of the part, or samples
    first: u32, // the part's place in the tensor
    width: u32, // elements of a sample
    stream: u32,
    keep: f32,
    factor: f32, // 1 / keep
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> state: vec4<u32>;
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> kept: array<u32>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

override ADD: bool = false;

@compute @workgroup_size(64)
fn choose(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = flat_group(group, groups) * 64u + lane;
    if i >= p.count {
        return;
    }
    let u = uniform_of(philox_word(state, p.stream, ids[i], 0u));
    kept[i] = select(0u, 1u, u < p.keep);
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
    let start = p.first + 4u * i;
    let end = p.first + min(4u * i + 4u, p.count);
    var is_kept = vec4<bool>(kept[start / p.width] != 0u);
    if start % p.width + 4u > p.width {
        for (var k = 1u; start + k < end; k++) {
            is_kept[k] = kept[(start + k) / p.width] != 0u;
        }
    }
    // Selected, not multiplied: nothing of a dropped sample is left, be it infinite.
    if ADD {
        put_quad(i, p.count, select(y[i], y[i] + p.factor * x[i], is_kept));
    } else {
        put_quad(i, p.count, select(vec4<f32>(), p.factor * x[i], is_kept));
    }
}
