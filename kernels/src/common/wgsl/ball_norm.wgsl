// The norm of a sample's vector that one workgroup of 64 has for itself: Linf, or L2 where SQUARE. Each lane takes in its elements in
// order, then lanes as in row_norm.wgsl.
#include "row_norm.wgsl"

override SQUARE: bool = false; // L2, else Linf

// What a lane has taken in.
struct Extent {
    most: f32, // largest absolute value
    sums: vec2<f32>, // as squares.wgsl has them
}

fn with_element(extent: Extent, x: f32) -> Extent {
    return Extent(max(extent.most, abs(x)), with_square(extent.sums, x));
}

fn lane_max(lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // an earlier result may still be read
    reduce_lanes[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half >> 1u) {
        if lane < half {
            reduce_lanes[lane] = max(reduce_lanes[lane], reduce_lanes[lane + half]);
        }
        workgroupBarrier();
    }
    return reduce_lanes[0];
}

// For all 64 lanes at once; all receive the norm.
fn ball_norm(lane: u32, extent: Extent) -> f32 {
    if SQUARE {
        return row_norm(lane, extent.sums);
    }
    return lane_max(lane, extent.most);
}
