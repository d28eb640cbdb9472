// Norms of samples that several workgroups of 64 share, each CHUNK elements: a kernel that sums writes one partial sum per
// chunk, and one that follows adds a sample's partial sums in order. The same bits in every run.
//
// Whoever includes this declares `partials: array<vec2<f32>>`, one per chunk of each sample.
#include "squares.wgsl"
#include "reduce.wgsl"

const CHUNK = 4096u; // as in kernels/src/common/gpu.rs

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
    return root(sums);
}
