// norm = sqrt(sum g^2), factor = min(1, max_norm / (norm + tiny)), or 0 where the norm is NaN or infinite.
//
// The CPU sums in f64, where no square overflows or vanishes. Here squares are summed in three classes (J. L. Blue, "A portable
// Fortran program to find the Euclidean norm of a vector", 1978): large elements scaled down, small ones scaled up, the rest
// as they are. NaN belongs to the rest, infinities are large.
//
// Mapping: partial: one workgroup of 64 per BLOCK elements, once per gradient or part of one, each lane four neighbours at a
// time. finish: one workgroup of 64 over all partial sums. Bytes: 4 read per element, 16 written and read per block.
// Order: lane l sums vectors l, l + 64, ... of its block, component by component, then the four components are added, then
// the lanes as reduce.wgsl says; finish sums blocks l, l + 64, ... likewise. Tolerance: relative error of some 1e-6.
#include "index.wgsl"
#include "math.wgsl"
#include "reduce.wgsl"

struct Params {
    count: u32, // elements for partial, blocks for finish
    first: u32, // where the partial sums of this launch begin
    max_norm: f32,
    tiny: f32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>; // large, middle, small, 0
@group(0) @binding(2) var<storage, read_write> g: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>; // norm, factor

override BLOCK: u32 = 16384u;

const LARGE: f32 = 0x1p29; // beyond it, squares of elements are summed times DOWN^2,
const SMALL: f32 = 0x1p-51; // below it, times UP^2
const DOWN: f32 = 0x1p-80;
const UP: f32 = 0x1p80;

fn sum_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(64)
fn partial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = flat_group(group, groups);
    if block >= (p.count + BLOCK - 1u) / BLOCK { // the whole workgroup
        return;
    }
    var large = vec4<f32>();
    var middle = vec4<f32>();
    var small = vec4<f32>();
    let end = min((block + 1u) * BLOCK, p.count);
    for (var i = block * BLOCK + lane * 4u; i < end; i += 256u) {
        // What lies behind the last element is anything.
        let inside = (vec4<u32>(i) + vec4<u32>(0u, 1u, 2u, 3u)) < vec4<u32>(p.count);
        let v = select(vec4<f32>(), g[i / 4u], inside);
        let is_large = abs(v) > vec4<f32>(LARGE);
        let is_small = abs(v) < vec4<f32>(SMALL);
        let scaled = v * select(select(vec4<f32>(1.0), vec4<f32>(UP), is_small), vec4<f32>(DOWN), is_large);
        let square = scaled * scaled;
        large += select(vec4<f32>(), square, is_large);
        middle += select(square, vec4<f32>(), is_large | is_small);
        small += select(vec4<f32>(), square, is_small);
    }
    let sum = vec4<f32>(
        reduce_sum(lane, sum_of(large)), reduce_sum(lane, sum_of(middle)), reduce_sum(lane, sum_of(small)), 0.0);
    if lane == 0u {
        partials[p.first + block] = sum;
    }
}

// The root of the three sums together, of which the largest class that holds anything decides the scale.
fn norm_of(large: f32, middle: f32, small: f32) -> f32 {
    let all = large + middle + small;
    if !is_finite(all) {
        return all;
    }
    // Scaled as roots: drivers fold DOWN * DOWN, which is 0 in f32.
    if large > 0.0 {
        let rest = sqrt(middle) * DOWN;
        return sqrt(fma(rest, rest, large)) / DOWN;
    }
    let rest = sqrt(small) * DOWN;
    return select(rest, sqrt(fma(rest, rest, middle)), middle > 0.0);
}

@compute @workgroup_size(64)
fn finish(@builtin(local_invocation_index) lane: u32) {
    var sum = vec4<f32>();
    for (var i = lane; i < p.count; i += 64u) {
        sum += partials[i];
    }
    let large = reduce_sum(lane, sum.x);
    let middle = reduce_sum(lane, sum.y);
    let small = reduce_sum(lane, sum.z);
    if lane == 0u {
        let norm = norm_of(large, middle, small);
        let factor = p.max_norm / (norm + p.tiny);
        result[0] = norm;
        result[1] = select(0.0, select(1.0, factor, factor < 1.0), is_finite(norm));
    }
}
