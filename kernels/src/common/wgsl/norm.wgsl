// Norms of samples that several workgroups of 64 share, each CHUNK elements: a kernel that sums writes one partial sum per
// chunk, and one that follows adds a sample's partial sums in order. The same bits in every run.
//
// Squares may exceed f32: beside their sum there is that of values times 2^-70, which serves where the first overflows. A
// norm that is itself no finite f32 comes out infinite; NaN stays NaN.
//
// Whoever includes this declares `partials: array<vec2<f32>>`, one per chunk of each sample.
#include "math.wgsl"
#include "reduce.wgsl"

const CHUNK = 4096u; // as in kernels/src/common/gpu.rs

fn with_square(sums: vec2<f32>, x: f32) -> vec2<f32> {
    let small = x * 8.4703294725e-22;
    return vec2<f32>(fma(x, x, sums.x), fma(small, small, sums.y));
}

// Adds the lanes' sums and keeps the result. For all 64 lanes at once.
fn put_partial(lane: u32, at: u32, sums: vec2<f32>) {
    let total = vec2<f32>(reduce_sum(lane, sums.x), reduce_sum(lane, sums.y));
    if lane == 0u {
        partials[at] = total;
    }
}

// The norm whose `count` partial sums begin at `start`.
fn norm_at(start: u32, count: u32) -> f32 {
    var sums = vec2<f32>();
    for (var i = 0u; i < count; i++) {
        sums += partials[start + i];
    }
    return select(sqrt(sums.y) * 1.1805916207e21, sqrt(sums.x), is_finite(sums.x));
}
