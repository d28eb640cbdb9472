// Norms of samples that one workgroup of 64 has for itself: each lane sums its elements in order, then lanes are added in order. The
// same bits in every run.
#include "squares.wgsl"
#include "reduce.wgsl"

// For all 64 lanes at once; all receive the norm.
fn row_norm(lane: u32, sums: vec2<f32>) -> f32 {
    return root(vec2<f32>(reduce_sum(lane, sums.x), reduce_sum(lane, sums.y)));
}
